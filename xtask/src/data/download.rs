//! A file from the net, with a progress bar and a checksum.

use std::{
    fs::File,
    io::{Read, Write},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use ureq::Agent;

/// How long the other side may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// Streams `url` into `file` and checks its MD5.
///
/// # Errors
/// When the address cannot be reached, answers with an error, breaks off or gives another file.
pub(super) fn download(url: &str, md5: &str, file: &mut File) -> Result<()> {
    let found = fetch(url, file)?;
    ensure!(found == md5, "{url} gave a file with MD5 {found}, not {md5}");
    Ok(())
}

/// Streams `url` into `file`; gives its MD5.
///
/// # Errors
/// When the address cannot be reached, answers with an error or breaks off.
pub(super) fn fetch(url: &str, file: &mut File) -> Result<String> {
    stream(url, file).with_context(|| format!("downloading {url}"))
}

fn stream(url: &str, file: &mut File) -> Result<String> {
    let config = Agent::config_builder()
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .timeout_per_read(Some(PATIENCE))
        .build();
    let mut body = Agent::from(config).get(url).call()?.into_body();
    let bar = bar(body.content_length());
    let mut reader = bar.wrap_read(body.as_reader());
    let mut hash = md5::Context::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let n = reader.read(&mut chunk)?;
        if n == 0 {
            break;
        }
        hash.consume(&chunk[..n]);
        file.write_all(&chunk[..n])?;
    }
    bar.finish_and_clear();
    Ok(format!("{:x}", hash.finalize()))
}

fn bar(length: Option<u64>) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes}, {eta} left");
    length
        .map_or_else(ProgressBar::no_length, ProgressBar::new)
        .with_style(style.expect("the template is well-formed"))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        net::TcpListener,
        thread,
    };

    use super::*;

    const BODY: &str = "some bytes";

    /// Answers one request with `response`, then closes. Gives the address.
    fn server(response: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let request = BufReader::new(stream.try_clone().unwrap());
            request.lines().take_while(|line| !line.as_ref().unwrap().is_empty()).count();
            stream.write_all(response.as_bytes()).unwrap();
        });
        format!("http://{address}/SST-2.zip")
    }

    fn answer(status: &str, length: usize) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{BODY}")
    }

    /// What `download` makes of a response, and what is in the file then.
    fn fetch(response: String, md5: &str) -> (Result<()>, String) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let result = download(&server(response), md5, &mut file.reopen().unwrap());
        (result, std::fs::read_to_string(file.path()).unwrap())
    }

    fn right_md5() -> String {
        format!("{:x}", md5::compute(BODY))
    }

    #[test]
    fn a_whole_file_is_stored() {
        let (result, content) = fetch(answer("200 OK", BODY.len()), &right_md5());
        result.unwrap();
        assert_eq!(content, BODY);
    }

    #[test]
    fn what_is_not_the_file_is_refused() {
        let wrong = "00000000000000000000000000000000";
        let cases = [
            (answer("200 OK", BODY.len()), wrong.to_owned(), "not 00000000000000000000000000000000"),
            (answer("200 OK", BODY.len() + 1), right_md5(), "downloading http://127.0.0.1"),
            (answer("404 Not Found", BODY.len()), right_md5(), "404"),
        ];
        for (response, md5, expected) in cases {
            let message = format!("{:#}", fetch(response, &md5).0.unwrap_err());
            assert!(message.contains(expected), "{message}");
        }
    }
}

//! What is remembered of parameters, on the host or where they lie.

use std::{borrow::Cow, collections::BTreeMap, sync::OnceLock};

use burn::tensor::Device;

/// Something remembered of a parameter that can lie where the parameter does.
pub(crate) trait Resident: Sized {
    /// The same on the host.
    type Host: Clone;

    fn read_back(&self) -> Self::Host;
    fn upload(host: &Self::Host, device: &Device) -> Self;
    fn device(&self) -> Device;
}

/// What is remembered of every parameter, by path. Training on a device with memory of its own leaves it there; whoever asks on
/// the host gets a copy, which is kept until training goes on. What is changed on the host goes back before the next step.
#[derive(Clone, Debug)]
pub(crate) struct Mirror<R: Resident> {
    /// Not set: what is resident is right, and nobody has asked.
    host: OnceLock<BTreeMap<String, R::Host>>,
    /// Empty: the host is right.
    resident: BTreeMap<String, R>,
}

impl<R: Resident> Default for Mirror<R> {
    fn default() -> Self {
        Self::on_host(BTreeMap::new())
    }
}

impl<R: Resident> Mirror<R> {
    pub(crate) fn on_host(host: BTreeMap<String, R::Host>) -> Self {
        Self { host: OnceLock::from(host), resident: BTreeMap::new() }
    }

    pub(crate) fn resident(resident: BTreeMap<String, R>) -> Self {
        Self { host: OnceLock::new(), resident }
    }

    /// All of it, on the host.
    pub(crate) fn host(&self) -> &BTreeMap<String, R::Host> {
        let read_back = |(path, resident): (&String, &R)| (path.clone(), resident.read_back());
        self.host.get_or_init(|| self.resident.iter().map(read_back).collect())
    }

    /// All of it, on the host, which is right from now on.
    pub(crate) fn host_mut(&mut self) -> &mut BTreeMap<String, R::Host> {
        self.host();
        self.resident.clear();
        self.host.get_mut().expect("it has just been read back")
    }

    /// All of it where it is computed with, which is right from now on.
    pub(crate) fn resident_mut(&mut self, device: &Device) -> &mut BTreeMap<String, R> {
        let host = self.host.take().filter(|_| self.resident.is_empty()).unwrap_or_default();
        let uploaded = host.into_iter().map(|(path, host)| (path, R::upload(&host, device)));
        self.resident.extend(uploaded);
        &mut self.resident
    }

    /// All of it where it is computed with, if that is right.
    pub(crate) fn if_resident(&self) -> Option<&BTreeMap<String, R>> {
        (!self.resident.is_empty()).then_some(&self.resident)
    }

    /// What is remembered of one parameter; nothing else is read back for it.
    pub(crate) fn get(&self, path: &str) -> Option<Cow<'_, R::Host>> {
        match self.host.get() {
            Some(host) => host.get(path).map(Cow::Borrowed),
            None => self.resident.get(path).map(|resident| Cow::Owned(resident.read_back())),
        }
    }

    /// Puts something else in the place of what is remembered of one parameter, or nothing; all else stays where it is.
    pub(crate) fn set(&mut self, path: &str, host: Option<R::Host>) {
        if let Some(resident) = self.resident.values().next() {
            let (device, path) = (resident.device(), path.to_owned());
            self.host.take();
            put(&mut self.resident, path, host.map(|host| R::upload(&host, &device)));
        } else {
            put(self.host_mut(), path.to_owned(), host);
        }
    }
}

fn put<T>(all: &mut BTreeMap<String, T>, path: String, one: Option<T>) {
    match one {
        Some(one) => drop(all.insert(path, one)),
        None => drop(all.remove(&path)),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static MOVED: Cell<[u32; 2]> = const { Cell::new([0, 0]) };
    }

    /// A number; how often one is moved, back and up, is counted.
    #[derive(Clone, Debug, PartialEq)]
    struct Number(u32);

    impl Resident for Number {
        type Host = u32;

        fn read_back(&self) -> u32 {
            MOVED.with(|moved| moved.set([moved.get()[0] + 1, moved.get()[1]]));
            self.0
        }

        fn upload(host: &u32, _: &Device) -> Self {
            MOVED.with(|moved| moved.set([moved.get()[0], moved.get()[1] + 1]));
            Self(*host)
        }

        fn device(&self) -> Device {
            Device::flex()
        }
    }

    fn moved() -> [u32; 2] {
        MOVED.take()
    }

    fn numbers() -> Mirror<Number> {
        Mirror::on_host([("a".to_owned(), 1), ("b".to_owned(), 2)].into())
    }

    #[test]
    fn steps_move_nothing_and_questions_are_answered_once() {
        let (mut numbers, device) = (numbers(), Device::flex());
        for _ in 0..3 {
            numbers.resident_mut(&device).values_mut().for_each(|number| number.0 += 10);
        }
        assert_eq!(moved(), [0, 2], "up, before the first step");
        assert_eq!(numbers.host()["b"], 32);
        assert_eq!(numbers.get("a").as_deref(), Some(&31));
        assert_eq!(moved(), [2, 0]);
        numbers.resident_mut(&device).values_mut().for_each(|number| number.0 += 10);
        assert_eq!(numbers.get("a").as_deref(), Some(&41));
        assert_eq!(moved(), [1, 0], "one alone");
    }

    #[test]
    fn what_is_changed_on_the_host_is_what_the_next_step_sees() {
        let (mut numbers, device) = (numbers(), Device::flex());
        numbers.resident_mut(&device);
        *numbers.host_mut().get_mut("a").unwrap() = 7;
        assert_eq!(numbers.resident_mut(&device)["a"], Number(7));
    }

    #[test]
    fn one_is_changed_where_it_lies() {
        let (mut numbers, device) = (numbers(), Device::flex());
        numbers.set("a", Some(5));
        assert_eq!((numbers.host()["a"], moved()), (5, [0, 0]));
        numbers.resident_mut(&device);
        assert_eq!(numbers.host()["b"], 2);
        moved();
        numbers.set("b", Some(9));
        numbers.set("a", None);
        assert_eq!(moved(), [0, 1]);
        assert_eq!(*numbers.host(), [("b".to_owned(), 9)].into());
    }
}

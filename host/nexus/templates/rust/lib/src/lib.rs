//! Greets, for other components and for `nexus invoke`. The contract is `wit/greeter.wit`.

hypermesh_guest::library!();

struct Greeter;
export!(Greeter);

impl Guest for Greeter {
    fn greet(name: String) -> String {
        format!("Hello, {name}!")
    }
}

#[cfg(test)]
mod tests {
    use super::{Greeter, Guest as _};

    #[test]
    fn greets() {
        assert_eq!(Greeter::greet("Ada".to_owned()), "Hello, Ada!");
    }
}

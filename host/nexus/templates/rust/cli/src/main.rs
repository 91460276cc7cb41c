//! Greets everybody that its arguments name.

use std::env;

fn main() {
    for name in env::args().skip(1) {
        println!("{}", greeting(&name));
    }
}

fn greeting(name: &str) -> String {
    format!("Hello, {name}!")
}

#[cfg(test)]
mod tests {
    #[test]
    fn greets() {
        assert_eq!(super::greeting("Ada"), "Hello, Ada!");
    }
}

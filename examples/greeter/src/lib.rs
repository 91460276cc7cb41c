//! A library with typed exports: the contract is `wit/greeter.wit`, this file only keeps it.

wit_bindgen::generate!({ world: "greeter", path: "wit" });

use exports::hypermesh::greeter::greetings::{
    GreetError, Greeting, Guest as Greetings, Person, Tone,
};

/// Longest name that is greeted, in characters.
const NAME_LENGTH_MAX: u32 = 64;

struct Greeter;

export!(Greeter);

impl Guest for Greeter {
    fn hello(name: String) -> String {
        format!("Hello, {name}!")
    }
}

impl Greetings for Greeter {
    fn tones() -> Vec<Tone> {
        vec![Tone::Plain, Tone::Warm, Tone::Formal]
    }

    fn greet(who: Person, tone: Tone) -> Result<Greeting, GreetError> {
        let name = checked(&who.name)?;
        let text = match tone {
            Tone::Plain => format!("Hello, {name}!"),
            Tone::Warm => format!("Dear {name}, how good to see you!"),
            Tone::Formal => {
                let titles = who.titles.iter().map(String::as_str);
                let full = titles.chain([name]).collect::<Vec<_>>().join(" ");
                format!("Good day, {full}.")
            }
        };
        Ok(Greeting {
            length: length(&text),
            text,
        })
    }

    fn greet_all(names: Vec<String>) -> Result<Vec<String>, GreetError> {
        names
            .iter()
            .map(|name| Ok(format!("Hello, {}!", checked(name)?)))
            .collect()
    }
}

fn checked(name: &str) -> Result<&str, GreetError> {
    let name = name.trim();
    if name.is_empty() {
        return Err(GreetError::Nobody);
    }
    if length(name) > NAME_LENGTH_MAX {
        return Err(GreetError::NameTooLong(NAME_LENGTH_MAX));
    }
    Ok(name)
}

fn length(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

//! Greets everybody that its arguments name, with the greeting of its configuration. It ends with 1
//! if nobody is named.

use std::process::ExitCode;

use hypermesh_guest::config;

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    match greetings(&names) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn greetings(names: &[String]) -> Result<String, String> {
    if names.is_empty() {
        return Err("nobody to greet: name somebody in `args` of the manifest".to_owned());
    }
    let greeting = config::get("greeting").map_err(|error| error.to_string())?;
    let greeting = greeting.unwrap_or_else(|| "Hello".to_owned());
    Ok(names
        .iter()
        .map(|name| format!("{greeting}, {name}!\n"))
        .collect())
}

#[cfg(test)]
mod tests {
    use hypermesh_guest::mock;

    use super::*;

    #[test]
    fn everybody_is_greeted_as_configured() {
        let names = ["Ada".to_owned(), "Grace".to_owned()];
        assert_eq!(greetings(&names).unwrap(), "Hello, Ada!\nHello, Grace!\n");
        mock::set_config("greeting", "Good day");
        assert_eq!(greetings(&names[..1]).unwrap(), "Good day, Ada!\n");
    }

    #[test]
    fn nobody_is_an_error() {
        assert!(greetings(&[]).unwrap_err().contains("nobody"));
    }
}

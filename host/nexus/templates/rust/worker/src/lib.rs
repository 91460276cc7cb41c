//! Says what messages it gets. Send one: `nexus publish TOPIC --text hello`.

use hypermesh_guest::{log, messaging::Message};

hypermesh_guest::message_handler!(handle);

fn handle(message: Message) {
    log::info(format_args!("{} says {}", message.topic, message.text()));
}

#[cfg(test)]
mod tests {
    use hypermesh_guest::{messaging::Message, mock};

    #[test]
    fn says_what_it_gets() {
        mock::deliver(super::handle, Message::new("here", "hello")).unwrap();
        assert_eq!(mock::logs()[0].2, "here says hello");
    }
}

//! Greets whoever asks.

use hypermesh_guest::http;

hypermesh_guest::http_service!(handle);

fn handle(request: http::Request) -> String {
    format!("Hello from {}\n", request.uri().path())
}

#[cfg(test)]
mod tests {
    use hypermesh_guest::mock;

    #[test]
    fn greets() {
        let (status, text) = mock::call(super::handle, mock::get("/here"));
        assert_eq!((status, text.as_str()), (200, "Hello from /here\n"));
    }
}

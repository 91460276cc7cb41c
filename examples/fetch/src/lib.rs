//! Passes on what another server answers. Which server stands in the configuration; the manifest
//! must grant it as well.

use hypermesh_guest::{config, http};

hypermesh_guest::http_service!(handle);

fn handle(request: http::Request) -> http::Response {
    let upstream = config::get("upstream").ok().flatten().unwrap_or_default();
    match http::get(&format!("{upstream}{}", request.uri().path())) {
        // The body passes through as it arrives, whatever its size.
        Ok(response) => response,
        Err(error) => {
            let text = format!("{upstream} gave no answer: {error}\n");
            http::Answer::answer((http::StatusCode::BAD_GATEWAY, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypermesh_guest::mock;

    #[test]
    fn answer_of_the_other_server_is_passed_on() {
        mock::set_config("upstream", "http://upstream.example");
        mock::on_fetch(|request| format!("this is {}\n", request.uri()));
        let (status, text) = mock::call(handle, mock::get("/a"));
        assert_eq!(status, 200);
        assert_eq!(text, "this is http://upstream.example/a\n");
    }

    #[test]
    fn silence_is_a_bad_gateway() {
        mock::set_config("upstream", "http://upstream.example");
        assert_eq!(mock::call(handle, mock::get("/")).0, 502);
    }
}

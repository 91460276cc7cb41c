//! What a handler may return, and the macro that serves it.

use std::fmt::Display;

use super::{Body, HeaderValue, Response, StatusCode, header};

/// Something that answers a request.
///
/// Text and bytes answer with 200; a status and a body with that status; an error with 500 and a
/// line in the log, because what went wrong inside is not the client's business.
pub trait Answer {
    /// The response itself.
    fn answer(self) -> Response;
}

impl Answer for Response {
    fn answer(self) -> Response {
        self
    }
}

impl Answer for String {
    fn answer(self) -> Response {
        (StatusCode::OK, self).answer()
    }
}

impl Answer for &'static str {
    fn answer(self) -> Response {
        (StatusCode::OK, self).answer()
    }
}

impl Answer for Vec<u8> {
    fn answer(self) -> Response {
        (StatusCode::OK, self).answer()
    }
}

impl Answer for Body {
    fn answer(self) -> Response {
        Response::new(self)
    }
}

impl Answer for StatusCode {
    fn answer(self) -> Response {
        (self, Body::empty()).answer()
    }
}

impl<B: Into<Body>> Answer for (StatusCode, B) {
    fn answer(self) -> Response {
        let (status, body) = self;
        let body = body.into();
        let is_text = body.is_text();
        let mut response = Response::new(body);
        *response.status_mut() = status;
        if is_text {
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("text/plain; charset=utf-8"),
            );
        }
        response
    }
}

impl<T: Answer, E: Display> Answer for Result<T, E> {
    fn answer(self) -> Response {
        match self {
            Ok(answer) => answer.answer(),
            Err(error) => {
                eprintln!("error: {error}");
                (StatusCode::INTERNAL_SERVER_ERROR, "internal error\n").answer()
            }
        }
    }
}

/// Serves HTTP with a function from [`Request`](crate::http::Request) to any
/// [`Answer`](crate::http::Answer). For a crate of type `cdylib`.
///
/// ```
/// use hypermesh_guest::{http, mock};
///
/// hypermesh_guest::http_service!(handle);
///
/// fn handle(request: http::Request) -> String {
///     format!("you asked for {}\n", request.uri().path())
/// }
///
/// assert_eq!(mock::call(handle, mock::get("/a")), (200, "you asked for /a\n".to_owned()));
/// ```
#[macro_export]
macro_rules! http_service {
    ($handle:path) => {
        #[cfg(target_os = "wasi")]
        const _: () = {
            use $crate::__macros::wasip2;
            struct Service;
            impl wasip2::exports::http::incoming_handler::Guest for Service {
                fn handle(
                    request: wasip2::http::types::IncomingRequest,
                    response: wasip2::http::types::ResponseOutparam,
                ) {
                    $crate::__macros::serve($handle, request, response);
                }
            }
    wasip2::http::proxy::export!(Service with_types_in wasip2);
        };
        #[cfg(not(target_os = "wasi"))]
        const _: fn($crate::http::Request) -> $crate::http::Response =
            |request| $crate::http::Answer::answer($handle(request));
    };
}

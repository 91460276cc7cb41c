//! Keeps files of any size: PUT stores, GET returns, DELETE removes. Bytes pass through in steps, so
//! the memory that it needs does not grow with the file.

use hypermesh_guest::blob::{Container, Error};
use hypermesh_guest::http::{self, Answer, Body, HeaderValue, Method, StatusCode, header};

hypermesh_guest::http_service!(handle);

fn handle(request: http::Request) -> Result<http::Response, Error> {
    let files = Container::open("files")?;
    let name = request.uri().path().trim_start_matches('/').to_owned();
    match *request.method() {
        Method::GET if name.is_empty() => list(&files),
        Method::GET => send(&files, &name),
        Method::PUT if !name.is_empty() => {
            let bytes = files.write(&name, request.into_body())?;
            Ok((StatusCode::CREATED, format!("{bytes} bytes\n")).answer())
        }
        Method::DELETE => {
            files.delete(&name)?;
            Ok(StatusCode::NO_CONTENT.answer())
        }
        _ => Ok(StatusCode::METHOD_NOT_ALLOWED.answer()),
    }
}

fn list(files: &Container) -> Result<http::Response, Error> {
    let mut names = files.list()?;
    names.sort();
    let text: String = names.iter().map(|name| format!("{name}\n")).collect();
    Ok(text.answer())
}

fn send(files: &Container, name: &str) -> Result<http::Response, Error> {
    if !files.exists(name)? {
        return Ok((StatusCode::NOT_FOUND, "there is no such file\n").answer());
    }
    let length = HeaderValue::from(files.size(name)?);
    let mut response = Body::from_reader(files.read(name)?).answer();
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypermesh_guest::mock;

    fn with(method: Method, request: http::Request) -> (u16, String) {
        let mut request = request;
        *request.method_mut() = method;
        mock::call(handle, request)
    }

    #[test]
    fn what_was_put_is_returned_until_it_is_deleted() {
        let put = with(Method::PUT, mock::post("/a.txt", "some text"));
        assert_eq!(put, (201, "9 bytes\n".to_owned()));
        assert_eq!(
            mock::call(handle, mock::get("/a.txt")),
            (200, "some text".to_owned())
        );
        assert_eq!(
            mock::call(handle, mock::get("/")),
            (200, "a.txt\n".to_owned())
        );
        assert_eq!(with(Method::DELETE, mock::get("/a.txt")).0, 204);
        assert_eq!(mock::call(handle, mock::get("/a.txt")).0, 404);
    }

    #[test]
    fn a_file_needs_a_name() {
        assert_eq!(with(Method::PUT, mock::post("/", "text")).0, 405);
    }
}

//! Draws the Mandelbrot set: work for the processor, and an answer that is sent line by line.

use std::io::{self, Write};

use hypermesh_guest::http::{self, Answer, Body};

/// Largest picture, in pixels of each side: some seconds of work.
const SIDE_MAX: u32 = 1024;
/// Side of the picture if the request names none.
const SIDE_DEFAULT: u32 = 256;
/// Steps after which a point counts as part of the set.
const STEPS_MAX: u8 = 255;

hypermesh_guest::http_service!(handle);

/// Answers `?side=N` with a picture in the PGM format (binary, grey).
fn handle(request: http::Request) -> http::Response {
    let Some(side) = side(request.uri().query().unwrap_or_default()) else {
        let text = format!("say ?side=N with N from 1 to {SIDE_MAX}\n");
        return (http::StatusCode::BAD_REQUEST, text).answer();
    };
    let mut response = Body::from_writer(move |out| draw(side, out)).answer();
    let kind = http::HeaderValue::from_static("image/x-portable-graymap");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, kind);
    response
}

fn side(query: &str) -> Option<u32> {
    let named = query.split('&').find_map(|pair| pair.strip_prefix("side="));
    let side = named.map_or(Some(SIDE_DEFAULT), |text| text.parse().ok())?;
    (1..=SIDE_MAX).contains(&side).then_some(side)
}

fn draw(side: u32, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "P5 {side} {side} {STEPS_MAX}")?;
    let scale = 3.0 / f64::from(side);
    for y in 0..side {
        let line: Vec<u8> = (0..side)
            .map(|x| steps(f64::from(x) * scale - 2.25, f64::from(y) * scale - 1.5))
            .collect();
        out.write_all(&line)?;
    }
    Ok(())
}

/// How many steps the point takes to leave the circle of radius 2.
fn steps(re: f64, im: f64) -> u8 {
    let (mut x, mut y) = (0.0, 0.0);
    for step in 0..STEPS_MAX {
        if x * x + y * y > 4.0 {
            return step;
        }
        (x, y) = (x * x - y * y + re, 2.0 * x * y + im);
    }
    STEPS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypermesh_guest::mock;

    #[test]
    fn the_centre_is_in_the_set_and_the_corner_is_not() {
        assert_eq!(steps(0.0, 0.0), STEPS_MAX);
        assert!(steps(2.0, 2.0) < 3);
    }

    #[test]
    fn the_picture_has_its_header_and_all_its_pixels() {
        let bytes = handle(mock::get("/?side=4")).into_body().bytes().unwrap();
        assert!(bytes.starts_with(b"P5 4 4 255\n"));
        assert_eq!(bytes.len(), b"P5 4 4 255\n".len() + 16);
    }

    #[test]
    fn too_large_a_picture_is_refused() {
        assert_eq!(mock::call(handle, mock::get("/?side=1025")).0, 400);
        assert_eq!(mock::call(handle, mock::get("/?side=x")).0, 400);
    }
}

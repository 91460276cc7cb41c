//! Counts visits per path. The counts are in a key-value bucket, so that they outlive every instance.

use hypermesh_guest::{http, keyvalue};

hypermesh_guest::http_service!(handle);

fn handle(request: http::Request) -> Result<String, keyvalue::Error> {
    let path = request.uri().path();
    let visits = keyvalue::Bucket::open("default")?.increment(path, 1)?;
    Ok(format!("{path}: {visits}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypermesh_guest::mock;

    #[test]
    fn every_path_counts_by_itself() {
        let visit = |path: &str| mock::call(handle, mock::get(path)).1;
        assert_eq!(visit("/a"), "/a: 1\n");
        assert_eq!(visit("/a"), "/a: 2\n");
        assert_eq!(visit("/b"), "/b: 1\n");
    }
}

//! Which component answers a request: exact host before `*`, then the longest path prefix.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use types::{Name, Route};

/// A component that takes requests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Of this workload.
    pub workload: Name,
    /// This component.
    pub component: Name,
}

/// All routes of a fabric. Routes are unique on the ledger, so the table is, too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteTable {
    hosts: BTreeMap<String, BTreeMap<String, Target>>,
    /// What each workload has in it.
    of_workloads: BTreeMap<Name, Vec<Route>>,
}

impl RouteTable {
    /// Joins admitted routes.
    #[must_use]
    pub fn new(routes: impl IntoIterator<Item = (Route, Target)>) -> Self {
        let mut table = Self::default();
        for (route, target) in routes {
            table.insert(route, target);
        }
        table
    }

    /// Puts the routes that some workloads have now in place of those that they had. A route may
    /// go from one of them to another.
    pub fn replace(
        &mut self,
        workloads: &BTreeSet<Name>,
        routes: impl IntoIterator<Item = (Route, Target)>,
    ) {
        for workload in workloads {
            for route in self.of_workloads.remove(workload).unwrap_or_default() {
                self.remove(&route);
            }
        }
        for (route, target) in routes {
            self.insert(route, target);
        }
    }

    fn insert(&mut self, route: Route, target: Target) {
        let paths = self.hosts.entry(route.host().to_owned()).or_default();
        let held = self.of_workloads.entry(target.workload.clone());
        paths.insert(route.path().to_owned(), target);
        held.or_default().push(route);
    }

    fn remove(&mut self, route: &Route) {
        if let Some(paths) = self.hosts.get_mut(route.host()) {
            paths.remove(route.path());
            if paths.is_empty() {
                self.hosts.remove(route.host());
            }
        }
    }

    /// The component for a request to `host` (without port) and `path` (without query).
    ///
    /// A prefix ends at a segment: `/api` covers `/api` and `/api/x`, not `/apix`.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<&Target> {
        let host = host.trim_end_matches('.');
        // Most clients send lower case, and this runs for every request.
        let host = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        };
        let tables = [self.hosts.get(host.as_ref()), self.hosts.get("*")];
        tables
            .into_iter()
            .flatten()
            .find_map(|paths| longest(paths, path))
    }
}

fn longest<'a>(paths: &'a BTreeMap<String, Target>, path: &str) -> Option<&'a Target> {
    let mut prefix = path;
    loop {
        if let Some(target) = paths.get(prefix) {
            return Some(target);
        }
        match prefix.rfind('/') {
            Some(0) | None => return paths.get("/"),
            Some(at) => prefix = &prefix[..at],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(routes: &[(&str, &str, &str)]) -> RouteTable {
        RouteTable::new(routes.iter().map(|(host, path, component)| {
            let name = Name::new(*component).unwrap();
            let target = Target {
                workload: name.clone(),
                component: name,
            };
            (Route::new(host, path).unwrap(), target)
        }))
    }

    #[test]
    fn the_most_specific_route_wins() {
        let table = table(&[
            ("*", "/", "any"),
            ("*", "/api", "api"),
            ("a.example", "/api/v2", "v2"),
        ]);
        let find = |host, path| {
            table
                .find(host, path)
                .map(|target| target.component.to_string())
        };
        assert_eq!(find("b.example", "/x/y").as_deref(), Some("any"));
        assert_eq!(find("b.example", "/api").as_deref(), Some("api"));
        assert_eq!(find("b.example", "/api/v2/z").as_deref(), Some("api"));
        assert_eq!(find("b.example", "/apix").as_deref(), Some("any"));
        assert_eq!(find("A.Example.", "/api/v2/z").as_deref(), Some("v2"));
        assert_eq!(find("a.example", "/api/v1").as_deref(), Some("api"));
        assert_eq!(find("a.example", "*").as_deref(), Some("any"));
    }

    #[test]
    fn a_table_that_is_changed_is_the_table_that_is_made_anew() {
        let mut changed = table(&[
            ("*", "/", "a"),
            ("*", "/moves", "a"),
            ("a.example", "/", "b"),
            ("a.example", "/stays", "c"),
        ]);
        let workloads = ["a", "b", "d"].map(|name| Name::new(name).unwrap());
        let routes = [
            ("*", "/", "a"),
            ("*", "/moves", "d"),
            ("d.example", "/", "d"),
        ];
        let routes = routes.map(|(host, path, component)| {
            let name = Name::new(component).unwrap();
            let target = Target {
                workload: name.clone(),
                component: name,
            };
            (Route::new(host, path).unwrap(), target)
        });
        changed.replace(&workloads.into(), routes);
        let anew = table(&[
            ("*", "/", "a"),
            ("*", "/moves", "d"),
            ("a.example", "/stays", "c"),
            ("d.example", "/", "d"),
        ]);
        assert_eq!(changed, anew);
        let all = ["a", "c", "d"].map(|name| Name::new(name).unwrap());
        changed.replace(&all.into(), []);
        assert_eq!(changed, RouteTable::default());
    }

    #[test]
    fn without_a_route_there_is_no_target() {
        assert_eq!(
            table(&[("a.example", "/api", "api")]).find("a.example", "/"),
            None
        );
        assert_eq!(
            table(&[("a.example", "/", "a")]).find("b.example", "/"),
            None
        );
    }
}

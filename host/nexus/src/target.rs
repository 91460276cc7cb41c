//! Arguments with a form of their own: `NAME/COMPONENT`, `HOST/PATH`, `IP:PORT`.

use std::net::SocketAddr;
use std::str::FromStr;

use types::{Name, NameError, Route, RouteError};

/// A workload, and perhaps one of its components: `shop` or `shop/api`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ComponentTarget {
    pub(crate) workload: Name,
    pub(crate) component: Option<Name>,
}

impl FromStr for ComponentTarget {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            None => Ok(Self {
                workload: text.parse()?,
                component: None,
            }),
            Some((workload, component)) => Ok(Self {
                workload: workload.parse()?,
                component: Some(component.parse()?),
            }),
        }
    }
}

/// A route as the command line writes it: `/api`, `shop.example` or `shop.example/api`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteArg(pub(crate) Route);

impl FromStr for RouteArg {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at = text.find('/').unwrap_or(text.len());
        let (host, path) = text.split_at(at);
        let host = if host.is_empty() { "*" } else { host };
        let path = if path.is_empty() { "/" } else { path };
        Route::new(host, path).map(Self)
    }
}

/// An address to listen on. Names are not resolved: which interface is meant must be plain.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "expected an IP address and a port, such as 127.0.0.1:8080, [::1]:8080 or 0.0.0.0:80"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_read_as_people_write_them() {
        let read = |text: &str| text.parse::<RouteArg>().map(|route| route.0.to_string());
        for (text, route) in [
            ("/", "*/"),
            ("/api", "*/api"),
            ("shop.example", "shop.example/"),
            ("shop.example/api", "shop.example/api"),
            ("*/api", "*/api"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(route), "{text}");
        }
        for bad in ["/api/", "http://shop.example", "Shop.example"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_target_names_at_most_one_component() {
        let target: ComponentTarget = "shop/api".parse().unwrap();
        assert_eq!(target.component.unwrap().as_str(), "api");
        for bad in ["", "/", "shop/", "/api", "a/b/c", "Shop"] {
            assert!(bad.parse::<ComponentTarget>().is_err(), "{bad}");
        }
    }
}

//! The address at which the browser that shows the notebook reaches the page.
//!
//! The page is served on 127.0.0.1. A browser on a different machine than the notebook's server cannot
//! reach that address. In this case, [jupyter-server-proxy] serves the page below the address of the
//! notebook's server, behind the server's login. The address depends on the program that has started the
//! kernel:
//!
//! | variable | set by | address |
//! | --- | --- | --- |
//! | `LIVE_SENTIMENT_FIGURE_URL` | the user | the template, with the port instead of `{port}` |
//! | `JUPYTERHUB_SERVICE_PREFIX` | JupyterHub, Binder | below the prefix |
//! | `LIVE_SENTIMENT_BASE_URL` | `kernel/start.py`, for a Jupyter server that is not only for this machine | below the base URL |
//! | none | | `http://127.0.0.1:{port}/` |
//!
//! Behind a proxy, the `Host` header does not show whether a request comes from the proxy or from another
//! site whose name resolves to 127.0.0.1. So a page with a proxied address has a random path, which other
//! sites do not know.
//!
//! [jupyter-server-proxy]: https://jupyter-server-proxy.readthedocs.io

use crate::error::{Error, Result};
use std::env;

const TEMPLATE: &str = "LIVE_SENTIMENT_FIGURE_URL";
const JUPYTERHUB: &str = "JUPYTERHUB_SERVICE_PREFIX";
const BASE_URL: &str = "LIVE_SENTIMENT_BASE_URL";

/// Returns the address of the page on this machine.
pub(super) fn direct(port: u16) -> String {
    format!("http://127.0.0.1:{port}/")
}

/// Returns the address of the page on `port`, whose random path is `secret`. It may be relative to the
/// server of the notebook.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if `LIVE_SENTIMENT_FIGURE_URL` is
/// not a template of an address.
pub(super) fn from_environment(port: u16, secret: &str) -> Result<String> {
    from_variables(|name| env::var(name).ok(), port, secret)
}

fn from_variables(
    variable: impl Fn(&str) -> Option<String>,
    port: u16,
    secret: &str,
) -> Result<String> {
    let variable = |name| variable(name).filter(|value| !value.is_empty());
    let template = if let Some(template) = variable(TEMPLATE) {
        check(&template)?;
        template
    } else if let Some(base) = variable(JUPYTERHUB).or_else(|| variable(BASE_URL)) {
        format!("{}/proxy/{{port}}", base.trim_end_matches('/'))
    } else {
        return Ok(direct(port));
    };
    let url = template.replace("{port}", &port.to_string());
    Ok(format!("{}/{secret}/", url.trim_end_matches('/')))
}

fn check(template: &str) -> Result<()> {
    let starts = ["/", "http://", "https://"];
    let reason = if !template.contains("{port}") {
        "it does not contain `{port}`"
    } else if !starts.iter().any(|start| template.starts_with(start)) {
        "it is not a path and not an http address"
    } else {
        return Ok(());
    };
    Err(Error::invalid_argument(
        format!("{TEMPLATE}={template:?}"),
        reason,
        "give an address such as /proxy/{port}/ or https://server.example/proxy/{port}/",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(variables: &[(&str, &str)]) -> Result<String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(of, _)| *of == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        from_variables(variable, 8051, "secret")
    }

    #[test]
    fn the_address_follows_who_has_started_the_kernel() {
        assert_eq!(address(&[]).unwrap(), "http://127.0.0.1:8051/");
        assert_eq!(
            address(&[(BASE_URL, "")]).unwrap(),
            "http://127.0.0.1:8051/"
        );
        let base = (BASE_URL, "/user/ada/");
        assert_eq!(address(&[base]).unwrap(), "/user/ada/proxy/8051/secret/");
        assert_eq!(address(&[(BASE_URL, "/")]).unwrap(), "/proxy/8051/secret/");
        let hub = (JUPYTERHUB, "/user/bob/");
        assert_eq!(
            address(&[base, hub]).unwrap(),
            "/user/bob/proxy/8051/secret/"
        );
        for (template, url) in [
            ("/proxy/{port}/", "/proxy/8051/secret/"),
            (
                "https://a.example/p/{port}",
                "https://a.example/p/8051/secret/",
            ),
            (
                "https://{port}.a.example/",
                "https://8051.a.example/secret/",
            ),
        ] {
            assert_eq!(address(&[base, hub, (TEMPLATE, template)]).unwrap(), url);
        }
    }

    #[test]
    fn a_template_that_is_no_address_is_refused() {
        for template in [
            "/proxy/8050/",
            "a.example/{port}/",
            "javascript:alert({port})",
        ] {
            let error = address(&[(TEMPLATE, template)]).unwrap_err().to_string();
            assert!(
                error.contains(template) && error.contains("hint: "),
                "{error}"
            );
        }
    }
}

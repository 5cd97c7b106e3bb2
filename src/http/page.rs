//! `/`: the status as a page for people.
//!
//! Promises: no scripts, nothing from elsewhere; everything from the node is escaped. Must not know: more than the status says.

use axum::extract::State;
use axum::response::Html;
use serde_json::Value;

use super::App;
use super::guard::Reader;
use super::status::describe;

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">\
<title>Starling</title><style>body{font:15px system-ui,sans-serif;margin:2em;color:#222}table{border-collapse:collapse;margin:1em 0}\
td,th{text-align:left;padding:.3em 1em .3em 0;border-bottom:1px solid #ddd;vertical-align:top}code{font-size:13px}\
.bad{color:#a00}</style></head><body>";

pub async fn page(_: Reader, State(app): State<App>) -> Html<String> {
    Html(render(&describe(&app)))
}

fn render(status: &Value) -> String {
    let text = |path: &str| plain(status.pointer(path).unwrap_or(&Value::Null));
    let mut html = String::from(HEAD);
    html.push_str(&format!("<h1>{}</h1><table>", text("/node/name")));
    let mut line = |name: &str, value: String, bad: bool| {
        let class = if bad { " class=\"bad\"" } else { "" };
        html.push_str(&format!("<tr><th>{name}</th><td{class}>{value}</td></tr>"));
    };
    for (name, flag, why) in [
        ("ready", "/ready", "/why_not_ready"),
        ("writable", "/writable", "/why_not_writable"),
    ] {
        let yes = status.pointer(flag) == Some(&Value::Bool(true));
        line(name, if yes { "yes".to_owned() } else { text(why) }, !yes);
    }
    for (name, path) in [
        ("MySQL", "/node/mysql_addr"),
        ("HTTP", "/node/http_addr"),
        ("version", "/version"),
        ("cluster", "/cluster"),
        ("applied", "/applied"),
        ("held", "/log/held"),
        ("waiting", "/waiting/entries"),
        ("log on disk, bytes", "/log/disk_bytes"),
        ("data", "/node/data_dir"),
    ] {
        line(name, format!("<code>{}</code>", text(path)), false);
    }
    html.push_str(
        "</table><h2>Members</h2><table><tr><th>id</th><th>name</th><th>state</th><th>HTTP</th><th>MySQL</th><th>applied</th></tr>",
    );
    for member in status["members"].as_array().into_iter().flatten() {
        html.push_str("<tr>");
        for field in ["id", "name", "state", "http_addr", "mysql_addr", "applied"] {
            html.push_str(&format!("<td>{}</td>", plain(&member[field])));
        }
        html.push_str("</tr>");
    }
    html.push_str("</table><p><a href=\"/v1/status\">status</a> · <a href=\"/metrics\">metrics</a></p></body></html>");
    html
}

fn plain(value: &Value) -> String {
    let text = match value {
        Value::Null => "–".to_owned(),
        Value::String(s) => s.clone(),
        other => other.to_string(),
    };
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_bring_markup() {
        let html = render(&serde_json::json!({"node": {"name": "<script>"}, "members": [{"name": "a&b"}]}));
        assert!(html.contains("&lt;script&gt;") && html.contains("a&amp;b") && !html.contains("<script>"));
    }
}

//! Precedence, refusals and the `MYSQL_…` variables.

use super::*;

struct Map(Vec<(&'static str, String)>);

impl Environment for Map {
    fn get(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone())
    }
    fn names(&self) -> Vec<String> {
        self.0.iter().map(|(n, _)| (*n).to_owned()).collect()
    }
}

fn empty() -> Map {
    Map(Vec::new())
}

fn file(text: &str) -> (tempfile::TempDir, Flags) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    let flags = Flags {
        config: Some(path),
        ..Flags::default()
    };
    (dir, flags)
}

#[test]
fn defaults_stand_alone() {
    let config = Config::load(&Flags::default(), &empty()).unwrap();
    assert_eq!(config.data_dir, PathBuf::from("./starling-data"));
    assert_eq!(config.mysql_addr.to_string(), "127.0.0.1:3306");
    assert_eq!(config.http_addr.to_string(), "127.0.0.1:8080");
    assert!(!config.node_name.is_empty());
    assert!(config.cluster_secret.is_none() && config.join.is_empty() && !config.daemon);
}

#[test]
fn flag_beats_file_beats_default() {
    let (_dir, mut flags) = file("node-name = 'f'\nhttp_addr = '127.0.0.1:9999'\njoin = ['a:1', 'b:2']\ncluster-secret = 's'\n");
    flags.node_name = Some("flag".into());
    let config = Config::load(&flags, &empty()).unwrap();
    assert_eq!(config.node_name, "flag");
    assert_eq!(config.http_addr.port(), 9999);
    assert_eq!(config.mysql_addr.port(), 3306);
    assert_eq!(config.join, ["a:1", "b:2"]);
    flags.join = vec!["http://c:3/".into()];
    assert_eq!(Config::load(&flags, &empty()).unwrap().join, ["c:3"]);
}

#[test]
fn unknown_keys_are_refused_by_name() {
    let (_dir, flags) = file("htpp-addr = '127.0.0.1:1'\n");
    let error = Config::load(&flags, &empty()).unwrap_err().to_string();
    assert!(error.contains("htpp-addr") && error.contains("config.toml"), "{error}");
}

#[test]
fn variables_become_text() {
    let (_dir, flags) = file("[variables]\nmax_connections = 20\nread_only = true\nsql_mode = 'ANSI'\n");
    let config = Config::load(&flags, &empty()).unwrap();
    let expected = [("max_connections", "20"), ("read_only", "ON"), ("sql_mode", "ANSI")];
    let given: Vec<_> = config.variables.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(given, expected);
}

#[test]
fn bad_addresses_are_named() {
    for (flags, name) in [
        (
            Flags {
                mysql_addr: Some("nowhere".into()),
                ..Flags::default()
            },
            "mysql-addr",
        ),
        (
            Flags {
                join: vec!["host".into()],
                cluster_secret: Some("s".into()),
                ..Flags::default()
            },
            "join",
        ),
    ] {
        let error = Config::load(&flags, &empty()).unwrap_err().to_string();
        assert!(error.starts_with(name), "{error}");
    }
}

#[test]
fn joining_needs_the_secret() {
    let flags = Flags {
        join: vec!["a:1".into()],
        ..Flags::default()
    };
    assert_eq!(Config::load(&flags, &empty()).unwrap_err(), ConfigError::JoinWithoutSecret);
}

#[test]
fn mysql_variables_and_their_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pw");
    std::fs::write(&path, "geheim\n").unwrap();
    let path = path.to_str().unwrap().to_owned();
    let bootstrap = Bootstrap::from_environment(&Map(vec![
        ("MYSQL_ROOT_PASSWORD_FILE", path.clone()),
        ("MYSQL_ALLOW_EMPTY_PASSWORD", "no".into()),
        ("MYSQL_DATABASE", "shop".into()),
    ]))
    .unwrap();
    assert_eq!(bootstrap.root_password.as_deref(), Some("geheim"));
    assert_eq!(bootstrap.database.as_deref(), Some("shop"));
    assert!(!bootstrap.allow_empty_password);
    let both = Map(vec![("MYSQL_ROOT_PASSWORD", "x".into()), ("MYSQL_ROOT_PASSWORD_FILE", path)]);
    assert_eq!(
        Bootstrap::from_environment(&both).unwrap_err(),
        ConfigError::BothForms("MYSQL_ROOT_PASSWORD".into())
    );
    let lonely = Map(vec![("MYSQL_USER", "app".into())]);
    assert!(Bootstrap::from_environment(&lonely).is_err());
}

#[test]
fn misspelt_variables_are_found() {
    let environment = Map(vec![
        ("STARLING_JION", "a:1".into()),
        ("STARLING_JOIN", "a:1".into()),
        ("HOME", "/".into()),
    ]);
    assert_eq!(unknown_variables(&environment, &["STARLING_JOIN".into()]), ["STARLING_JION"]);
}

//! `starling token`: a bearer token, derived from the cluster's secret.

use std::path::PathBuf;

use super::{Outcome, complain, print_json};
use crate::cluster::keyed::{Scope, Secret};
use crate::config::secret_of;

#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Flags {
    /// It may read (the default)
    #[arg(long, conflicts_with = "admin")]
    read: bool,
    /// It may do everything
    #[arg(long)]
    admin: bool,
    /// The cluster's secret
    #[arg(long, env = "STARLING_CLUSTER_SECRET", value_name = "S", hide_env_values = true)]
    cluster_secret: Option<String>,
    /// Where the secret may stand
    #[arg(long, env = "STARLING_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// JSON on stdout
    #[arg(long)]
    json: bool,
}

pub fn run(flags: &Flags) -> Outcome {
    let secret = match secret_of(flags.cluster_secret.as_ref(), flags.config.as_deref()) {
        Ok(Some(secret)) => secret,
        Ok(None) => {
            complain("a token is made from the cluster's secret: give --cluster-secret, STARLING_CLUSTER_SECRET or --config");
            return Outcome::BadUsage;
        }
        Err(error) => {
            complain(error);
            return Outcome::BadUsage;
        }
    };
    let scope = if flags.admin { Scope::Admin } else { Scope::Read };
    let token = Secret::new(&secret).token(scope);
    if flags.json {
        print_json(&serde_json::json!({ "token": token }));
    } else {
        println!("{token}");
    }
    Outcome::Done
}

//! `config check` and `config show`.

use holdfast_config::Loaded;
use serde_json::json;

use crate::args::{ConfigCommand, Global};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{self, Output};

pub fn load(global: &Global, out: &Output) -> Result<Loaded, Failure> {
    Loaded::load(&global.config).map_err(|errors| Failure::configuration(&errors, out.color_error))
}

pub fn run(global: &Global, out: &Output, command: ConfigCommand) -> Outcome {
    let loaded = load(global, out)?;
    let files: Vec<String> = loaded.files().map(|path| path.display().to_string()).collect();
    match command {
        ConfigCommand::Check => {
            let inputs: Vec<&str> = loaded.config.inputs.iter().map(|input| input.name.as_str()).collect();
            out.result(&json!({ "ok": true, "files": files, "inputs": inputs }), || {
                let count = output::count(inputs.len() as u64, "input");
                format!("{}: the configuration is right ({}; {count})", out.state("ok"), files.join(", "))
            })?;
        }
        ConfigCommand::Show => {
            let values: Vec<_> = loaded
                .values()
                .map(|(key, value, origin)| json!({ "key": key, "toml": value, "origin": origin }))
                .collect();
            out.result(&json!({ "files": files, "values": values }), || loaded.show())?;
        }
    }
    Ok(Exit::Ok)
}

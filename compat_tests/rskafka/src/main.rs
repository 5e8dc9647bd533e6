//! The rskafka client as a process: driver client --bootstrap HOST:PORT
//!
//! It takes commands, a JSON object a line, on standard input and answers each with one event on standard output.
//! compat_tests/drivers.py lists them. rskafka has no consumer groups: there is no mode member.

mod commands;
mod errors;
mod reader;
mod sender;

use std::process::ExitCode;

use commands::Driver;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ["client", "--bootstrap", bootstrap] = words[..] else {
        eprintln!("usage: driver client --bootstrap HOST:PORT");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    match runtime.block_on(serve(bootstrap)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            emit("failed", &json!(error.to_string()));
            ExitCode::from(3)
        }
    }
}

async fn serve(bootstrap: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut driver = Driver::connect(bootstrap).await?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        match driver.carry_out(serde_json::from_str(&line)?).await {
            Ok(value) => emit("done", &value),
            Err(refusal) => emit("error", &refusal.0),
        }
    }
    Ok(())
}

fn emit(name: &str, value: &Value) {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic); // what Python's time.monotonic reads
    let seconds = now.tv_sec as f64 + now.tv_nsec as f64 / 1e9;
    println!("{}", json!([seconds, name, value]));
}

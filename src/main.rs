//! The binary: parses the command line and runs one command.

fn main() {
    println!("{}", env!("CARGO_PKG_VERSION"));
}

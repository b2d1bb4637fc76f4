//! The `orlop` binary. All code is in the library, so that tests and the binary build the same code.

use std::process::ExitCode;

/// jemalloc packs long-lived allocations densely and returns free memory: under mixed attacks the system allocator and
/// mimalloc held twice as much. Its settings are in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    orlop::cli::main()
}

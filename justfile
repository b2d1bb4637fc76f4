# Everyday commands. `just` lists them.

[private]
default:
    @just --list

# Start a registry on port 5000, with its data in ./orlop-data
run *args:
    cargo run --locked --release -- serve {{args}}

# Run the tests that need no other program
test *args:
    cargo test --locked {{args}}

# Check formatting, clippy and the documentation, as CI does
lint:
    cargo fmt --check
    cargo clippy --locked --all-targets -- -D warnings
    cargo clippy --locked --features otlp --lib --bins --test otlp -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps

# Run these end-to-end scripts as root, such as `docker undo`; without names, everything that CI runs
e2e *names:
    cargo build --locked --release
    .ci/run {{names}}

# Compare the build for users with nginx and Debian's registry
bench *args:
    cargo build --locked --profile dist
    python3 tests/bench/run.py {{args}}

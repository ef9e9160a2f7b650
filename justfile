# Everyday commands. `just` lists them; each is what it says, so cargo alone does as well.

[private]
default:
    @just --list --unsorted

# Everything that a change must pass, as the CI runs it.
ci:
    .ci/run

# All tests, or those whose name contains a word.
test *filter:
    cargo test --locked {{ filter }}

# Random schedules of the queue, its runs and the merge lease, on a model and both databases: so many, or those of a seed.
sim schedules="10000" seed="":
    ORCH_TEST_SCHEDULES={{ schedules }} {{ if seed == "" { "" } else { "ORCH_TEST_SEED=" + seed } }} cargo test --locked --test orch -- schedules:: --nocapture

# Formatting and lints.
lint:
    cargo fmt --all --check
    cargo clippy --locked --all-targets -- -D warnings

# Delivers a sample task from start to end, without any account.
demo *arguments:
    cargo run --locked -- demo {{ arguments }}

# Sends the running service what its OpenAPI document says is right and wrong (installs schemathesis into target/).
openapi examples="100":
    test -x target/schemathesis/bin/schemathesis || python3 -m venv target/schemathesis
    target/schemathesis/bin/pip install --quiet --upgrade schemathesis
    ORCH_TEST_SCHEMATHESIS="--max-examples {{ examples }}" cargo test --locked --test orch -- openapi:: --test-threads 1

# What has a target, each against a peer or a limit in the same run.
bench *filter:
    cargo bench --locked {{ filter }}

# Licences, advisories and origins of all dependencies (needs cargo-deny).
deny:
    cargo deny check

# Lets the service die at every fail point, at so many, or at those of a name or a play (`Gitea`), on both databases (ORCH_TEST_POSTGRES names the server).
crash points="all":
    ORCH_TEST_CRASH_POINTS={{ points }} cargo test --locked --test orch -- crash::whoever --nocapture --test-threads 1

# The documentation of the code.
docs:
    cargo doc --locked --no-deps --document-private-items --open

# Throws anything at a parser for so many seconds: webhook_plane or webhook_forge (installs cargo-fuzz).
fuzz target seconds="60":
    cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
    # libFuzzer needs flags that are not stable.
    RUSTC_BOOTSTRAP=1 cargo fuzz run {{ target }} -- -max_total_time={{ seconds }} -max_len=65536

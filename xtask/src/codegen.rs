//! Compiles the .proto files with protox, so that nobody needs protoc, into code that is committed.

use std::fs;
use std::path::Path;

use anyhow::Context;

const PROTO_ROOT: &str = "crates/roster-proto/proto";
const PROTO_FILES: [&str; 1] = ["roster/v1/registry.proto"];
const GENERATED: &str = "crates/roster-proto/src/generated";

/// Writes messages and client stubs, then server stubs, then the descriptor set for reflection.
pub(crate) fn run() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask stands below the workspace")?;
    let generated = root.join(GENERATED);
    fs::create_dir_all(&generated)?;

    let mut compiler = protox::Compiler::new([root.join(PROTO_ROOT)])?;
    compiler.include_source_info(true).include_imports(true);
    for file in PROTO_FILES {
        compiler.open_file(file)?;
    }
    let with_comments = compiler.file_descriptor_set();

    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .bytes(".")
        .out_dir(&generated)
        .compile_fds(with_comments.clone())
        .context("generate messages and client stubs")?;
    fs::rename(generated.join("roster.v1.rs"), generated.join("messages.rs"))?;

    // Events are encoded once and shared by all watchers, so the server sends a response whose groups
    // are bytes already. On the wire the two types are the same.
    tonic_prost_build::configure()
        .build_client(false)
        .extern_path(".roster.v1.WatchResponse", "crate::encoded::WatchResponse")
        .extern_path(".roster.v1", "crate::v1")
        .out_dir(&generated)
        .compile_fds(with_comments.clone())
        .context("generate server stubs")?;
    fs::rename(generated.join("roster.v1.rs"), generated.join("server.rs"))?;

    compiler.include_source_info(false);
    fs::write(generated.join("descriptor.bin"), compiler.encode_file_descriptor_set())?;
    Ok(())
}

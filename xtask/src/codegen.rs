//! Compiles the .proto files with protox, so that nobody needs protoc, into code that is committed.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// Where the generated code stands, from the root of the workspace.
pub(crate) const GENERATED: &str = "crates/roster-proto/src/generated";
const PROTO_ROOT: &str = "crates/roster-proto/proto";
/// What the stubs encode and decode with.
const CODEC: &str = "crate::codec::SmallBuffers";
const PROTO_FILES: [&str; 3] = ["roster/v1/registry.proto", "roster/v1/queue.proto", "roster/v1/backup.proto"];

/// Writes the committed code anew.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    generate(root, &root.join(GENERATED))
}

/// Writes messages and client stubs, then server stubs, then the descriptor set for reflection.
pub(crate) fn generate(root: &Path, into: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(into).with_context(|| format!("create {}", into.display()))?;

    let mut compiler = protox::Compiler::new([root.join(PROTO_ROOT)])?;
    compiler.include_source_info(true).include_imports(true);
    for file in PROTO_FILES {
        compiler.open_file(file)?;
    }
    let with_comments = compiler.file_descriptor_set();

    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .codec_path(CODEC)
        .bytes(".")
        .out_dir(into)
        .compile_fds(with_comments.clone())
        .context("generate messages and client stubs")?;
    fs::rename(into.join("roster.v1.rs"), into.join("messages.rs"))?;

    // Events are encoded once and shared by all watchers, so the server sends a response whose groups
    // are bytes already, and takes requests whose registrations still are. What was read of a service is bytes as
    // well, and answers whoever asks again. On the wire the types are the same.
    tonic_prost_build::configure()
        .build_client(false)
        .codec_path(CODEC)
        .extern_path(".roster.v1.WatchResponse", "crate::encoded::WatchResponse")
        .extern_path(".roster.v1.SessionRequest", "crate::encoded::SessionRequest")
        .extern_path(".roster.v1.GetMainResponse", "crate::encoded::GetMainResponse")
        .extern_path(".roster.v1.ListInstancesResponse", "crate::encoded::ListInstancesResponse")
        .extern_path(".roster.v1", "crate::v1")
        .out_dir(into)
        .compile_fds(with_comments.clone())
        .context("generate server stubs")?;
    fs::rename(into.join("roster.v1.rs"), into.join("server.rs"))?;

    compiler.include_source_info(false);
    fs::write(into.join("descriptor.bin"), compiler.encode_file_descriptor_set())?;
    Ok(())
}

//! Who may depend on whom. The arrows of the architecture, read off the manifests.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package is in the workspace")
}

/// Packages that name `dependency` in their own manifest, also for tests or builds.
fn dependents(dependency: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(workspace())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{output:?}");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() >= 4, "the workspace lost packages");
    packages
        .iter()
        .filter(|package| {
            let named = package["dependencies"].as_array().expect("dependencies");
            named.iter().any(|named| named["name"] == dependency)
        })
        .map(|package| package["name"].as_str().expect("a name").to_owned())
        .collect()
}

fn only(packages: &[&str]) -> BTreeSet<String> {
    packages.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn only_the_core_speaks_sql() {
    assert_eq!(dependents("sqlx"), only(&["terse-core"]));
}

#[test]
fn only_the_server_serves_with_poem_beside_the_baseline_of_the_benches() {
    assert!(dependents("poem").is_subset(&only(&["terse-server", "terse-benches"])));
    assert_eq!(dependents("poem-openapi"), only(&["terse-server"]));
}

#[test]
fn the_core_knows_no_package_of_the_workspace_and_nobody_needs_the_command() {
    assert!(!dependents("terse-server").contains("terse-core"));
    assert!(dependents("terse-cli").is_empty());
}

#[test]
fn the_command_talks_to_a_server_over_http_alone() {
    for package in ["terse-core", "terse-server"] {
        assert!(!dependents(package).contains("terse-cli"), "{package}");
    }
}

#[test]
fn every_shared_dependency_says_why_it_is_there() {
    let manifest =
        std::fs::read_to_string(workspace().join("Cargo.toml")).expect("the manifest is readable");
    let section = manifest
        .split_once("[workspace.dependencies]")
        .expect("shared dependencies")
        .1;
    let mut explained = false;
    let mut dependencies = 0;
    for line in section
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with('['))
    {
        if line.trim().is_empty() {
            explained = false;
        } else if line.starts_with('#') {
            explained = true;
        } else {
            dependencies += 1;
            assert!(explained, "no comment above: {line}");
        }
    }
    assert!(dependencies > 10, "found {dependencies} dependencies");
}

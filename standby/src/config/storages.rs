//! `[[storage]]`: what a node serves.

use super::reader::Document;
use super::values;
use crate::cli::storage_spec::StorageSpec;

pub(super) fn read(document: &mut Document<'_>) -> Vec<StorageSpec> {
    document
        .sections("storage", |section| {
            let name = section.or("name", values::text, "1".to_owned());
            let path = section.required("path", values::path)?;
            Some(StorageSpec {
                blob_dir: section.optional("blobs", values::path),
                pack_gc: section.or("pack_gc", values::flag, true),
                pack_keep_old: section.or("pack_keep_old", values::flag, true),
                ..StorageSpec::plain(&name, path)
            })
        })
        .into_iter()
        .flatten()
        .collect()
}

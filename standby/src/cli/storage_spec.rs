//! `--storage NAME=PATH[,blobs=DIR][,read-only][,no-pack-gc]`.

use std::path::PathBuf;
use std::str::FromStr;

/// One storage to serve.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StorageSpec {
    /// The name that clients give.
    pub name: String,
    /// The Data.fs.
    pub path: PathBuf,
    /// Where its blobs are.
    pub blob_dir: Option<PathBuf>,
    /// Serve it read-only.
    pub read_only: bool,
    /// Whether a pack removes unreachable objects.
    pub pack_gc: bool,
    /// Whether a pack keeps the file as it was, as `.old`. Only a `zeo.conf` can say no.
    pub pack_keep_old: bool,
}

impl StorageSpec {
    /// A storage with nothing special.
    pub fn plain(name: &str, path: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            path,
            blob_dir: None,
            read_only: false,
            pack_gc: true,
            pack_keep_old: true,
        }
    }
}

impl FromStr for StorageSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) =
            text.split_once('=').ok_or_else(|| format!("expected NAME=PATH[,OPTION...], not {text:?}"))?;
        let mut parts = rest.split(',');
        let path = parts.next().unwrap_or_default();
        if name.is_empty() || path.is_empty() {
            return Err(format!("expected NAME=PATH[,OPTION...], not {text:?}"));
        }
        let mut spec = Self::plain(name, path.into());
        for option in parts {
            match option.split_once('=') {
                Some(("blobs", dir)) if !dir.is_empty() => spec.blob_dir = Some(dir.into()),
                None if option == "read-only" => spec.read_only = true,
                None if option == "no-pack-gc" => spec.pack_gc = false,
                _ => {
                    return Err(format!(
                        "unknown option {option:?}: there are blobs=DIR, read-only and no-pack-gc"
                    ));
                }
            }
        }
        Ok(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storage_is_a_name_a_path_and_options() {
        let spec: StorageSpec = "main=/d/Data.fs,blobs=/d/blobs,read-only,no-pack-gc".parse().expect("valid");
        assert_eq!(
            spec,
            StorageSpec {
                name: "main".into(),
                path: "/d/Data.fs".into(),
                blob_dir: Some("/d/blobs".into()),
                read_only: true,
                pack_gc: false,
                pack_keep_old: true,
            }
        );
        assert_eq!("1=x".parse(), Ok(StorageSpec::plain("1", "x".into())));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in ["Data.fs", "=x", "1=", "1=x,blobs=", "1=x,readonly", "1=x,"] {
            assert!(text.parse::<StorageSpec>().is_err(), "{text}");
        }
    }
}

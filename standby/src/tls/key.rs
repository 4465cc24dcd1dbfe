//! Private keys in PEM form, encrypted or not.
//!
//! Two kinds of encryption are in use: PKCS #8's own (`BEGIN ENCRYPTED PRIVATE KEY`), and the older one of OpenSSL,
//! where header lines name the cipher (`Proc-Type: 4,ENCRYPTED`, `DEK-Info: AES-128-CBC,...`; RFC 1421) and the key
//! is made from the password by MD5 (OpenSSL's `EVP_BytesToKey` with one round).

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockDecryptMut, KeyIvInit};
use md5::{Digest, Md5};
use pkcs8::der::Decode;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};

use super::PASSWORD_VARIABLE;

/// The first private key in the text.
pub(super) fn read(pem: &[u8], password: Option<&str>) -> Result<PrivateKeyDer<'static>> {
    let text = String::from_utf8_lossy(pem);
    match EncryptedBlock::find(&text)? {
        Some(block) => {
            let password = password
                .ok_or_else(|| anyhow!("it is encrypted: give its password in {PASSWORD_VARIABLE}"))?;
            block.decrypt(password)
        }
        None => PrivateKeyDer::from_pem_slice(pem).context("it holds no private key in PEM form"),
    }
}

struct EncryptedBlock<'a> {
    label: &'a str,
    /// Cipher and initialization vector of the older form.
    dek_info: Option<(&'a str, &'a str)>,
    body: Vec<u8>,
}

impl<'a> EncryptedBlock<'a> {
    /// The first private key, if it is encrypted.
    fn find(text: &'a str) -> Result<Option<Self>> {
        let mut lines = text.lines().map(str::trim);
        let label = lines.find_map(|line| {
            let label = line.strip_prefix("-----BEGIN ")?.strip_suffix("-----")?;
            label.ends_with("PRIVATE KEY").then_some(label)
        });
        let Some(label) = label else { return Ok(None) };
        let mut dek_info = None;
        let mut encoded = String::new();
        for line in lines.take_while(|line| !line.starts_with("-----END ")) {
            match line.split_once(':') {
                Some(("DEK-Info", value)) => dek_info = value.trim().split_once(','),
                Some(_) => {}
                None => encoded.push_str(line),
            }
        }
        if dek_info.is_none() && label != "ENCRYPTED PRIVATE KEY" {
            return Ok(None);
        }
        let body = STANDARD.decode(&encoded).context("it is not valid base64")?;
        Ok(Some(Self { label, dek_info, body }))
    }

    fn decrypt(self, password: &str) -> Result<PrivateKeyDer<'static>> {
        let Some((cipher, iv)) = self.dek_info else {
            let info =
                pkcs8::EncryptedPrivateKeyInfo::from_der(&self.body).map_err(|error| anyhow!("{error}"))?;
            let key = info.decrypt(password).map_err(|error| anyhow!("wrong password, or {error}"))?;
            return Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into());
        };
        let iv = decode_hex(iv.trim()).context("its initialization vector is not hexadecimal")?;
        let der = decrypt_cbc(cipher.trim(), &iv, password, &self.body)?;
        match self.label {
            "RSA PRIVATE KEY" => Ok(PrivatePkcs1KeyDer::from(der).into()),
            "EC PRIVATE KEY" => Ok(PrivateSec1KeyDer::from(der).into()),
            "PRIVATE KEY" => Ok(PrivatePkcs8KeyDer::from(der).into()),
            other => bail!("{other:?} is no kind of key that is supported"),
        }
    }
}

fn decrypt_cbc(cipher: &str, iv: &[u8], password: &str, body: &[u8]) -> Result<Vec<u8>> {
    fn decrypt<C: KeyIvInit + BlockDecryptMut>(iv: &[u8], password: &str, body: &[u8]) -> Result<Vec<u8>> {
        ensure!(iv.len() == C::iv_size(), "its initialization vector has the wrong length");
        let key = bytes_to_key(password.as_bytes(), &iv[..8], C::key_size());
        let decryptor = C::new_from_slices(&key, iv).map_err(|error| anyhow!("{error}"))?;
        decryptor.decrypt_padded_vec_mut::<Pkcs7>(body).map_err(|_| anyhow!("wrong password"))
    }
    match cipher {
        "DES-EDE3-CBC" => decrypt::<cbc::Decryptor<des::TdesEde3>>(iv, password, body),
        "AES-128-CBC" => decrypt::<cbc::Decryptor<aes::Aes128>>(iv, password, body),
        "AES-192-CBC" => decrypt::<cbc::Decryptor<aes::Aes192>>(iv, password, body),
        "AES-256-CBC" => decrypt::<cbc::Decryptor<aes::Aes256>>(iv, password, body),
        other => {
            bail!("its cipher {other} is not supported; `openssl pkcs8 -topk8` makes a key in today's form")
        }
    }
}

/// OpenSSL's `EVP_BytesToKey` with MD5 and one round.
fn bytes_to_key(password: &[u8], salt: &[u8], length: usize) -> Vec<u8> {
    let mut key: Vec<u8> = Vec::new();
    let mut block: Vec<u8> = Vec::new();
    while key.len() < length {
        block = Md5::new().chain_update(&block).chain_update(password).chain_update(salt).finalize().to_vec();
        key.extend_from_slice(&block);
    }
    key.truncate(length);
    key
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
#[path = "key_test.rs"]
mod tests;

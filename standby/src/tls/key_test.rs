//! The keys were made with `openssl ecparam -name prime256v1 -genkey -noout`, and `openssl ec -CIPHER` or
//! `openssl pkcs8 -topk8` with the password `secret`.

use super::*;

const PLAIN: &[u8] = include_bytes!("test_keys/ec.pem");
const OLD_FORM: [&[u8]; 4] = [
    include_bytes!("test_keys/ec-des3.pem"),
    include_bytes!("test_keys/ec-aes128.pem"),
    include_bytes!("test_keys/ec-aes192.pem"),
    include_bytes!("test_keys/ec-aes256.pem"),
];
const PKCS8: &[u8] = include_bytes!("test_keys/ec-pkcs8.pem");

#[test]
fn a_key_encrypted_in_the_older_form_of_openssl_is_read() {
    let plain = read(PLAIN, None).expect("not encrypted");
    for pem in OLD_FORM {
        assert_eq!(read(pem, Some("secret")).expect("the right password"), plain);
    }
}

#[test]
fn a_key_encrypted_in_pkcs8_is_read() {
    assert!(matches!(read(PKCS8, Some("secret")).expect("the right password"), PrivateKeyDer::Pkcs8(_)));
}

#[test]
fn an_encrypted_key_needs_its_password() {
    for pem in OLD_FORM.into_iter().chain([PKCS8]) {
        let error = read(pem, None).expect_err("no password").to_string();
        assert!(error.contains(PASSWORD_VARIABLE), "{error}");
    }
    assert!(
        read(PKCS8, Some("wrong")).expect_err("the wrong password").to_string().contains("wrong password")
    );
}

#[test]
fn text_without_a_key_is_refused() {
    assert!(read(b"", None).is_err());
    assert!(read(b"-----BEGIN EC PRIVATE KEY-----\nDEK-Info: X\n", Some("x")).is_err());
}

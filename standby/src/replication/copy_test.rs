use std::time::Duration;

use super::*;
use crate::service::gate::Hold;

pub(crate) fn copy(folder: &tempfile::TempDir) -> Copy {
    Copy::open("a", Service::for_tests(folder)).expect("a copy")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_whose_beginning_is_overtaken_by_following_another_node_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = copy(&folder);
    copy.service().hold(Hold::Held);
    let mut tip = copy.service().tip();
    let begins = tokio::spawn({
        let copy = copy.clone();
        async move { copy.begin_epoch_above(1, "a", Tid::ZERO).await }
    });
    tip.wait_for(|tip| *tip > Tid::ZERO).await.expect("the boundary is durable");
    let _stream = copy.service().applied();
    let began = tokio::time::timeout(Duration::from_secs(60), begins).await.expect("in time");
    let told = began.expect("no panic").expect_err("another is followed").to_string();
    assert!(told.contains("is followed"), "{told}");
}

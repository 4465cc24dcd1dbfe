use std::pin::pin;
use std::task::Poll;

/// The result of a future, if it is ready now. The future must be one that can be dropped without loss.
pub(super) async fn ready_now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

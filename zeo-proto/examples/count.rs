//! Counts in one object up to a number, however many do it at one time and whatever happens to the server:
//! `cargo run -p zeo-proto --features client --example count -- HOST:PORT[,HOST:PORT...] [COUNT]`.

use zeo_proto::client::{Client, Error, Metadata, Options, Snapshot};
use zeo_proto::{Oid, Tid};

/// The object that counts, out of the way of those that servers give out.
const OID: Oid = Oid::new(0xc0_0000_0000);

/// What it says, and since which transaction.
async fn counted(snapshot: &Snapshot) -> Result<(u64, Option<Tid>), Error> {
    match snapshot.load(OID).await {
        Ok(Some(found)) => {
            let text = String::from_utf8_lossy(&found.data);
            Ok((text.parse().unwrap_or(0), Some(found.serial)))
        }
        Ok(None) => Ok((0, None)),
        Err(Error::Refused(refused)) if refused.is("POSKeyError") => Ok((0, None)),
        Err(error) => Err(error),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let addresses = arguments.next().unwrap_or_else(|| "127.0.0.1:8100".to_owned());
    let most: u64 = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(10);
    let client = Client::start(Options::new(addresses.split(',')));
    println!("connected to {}", client.connected().await?);
    loop {
        let (count, serial) = match counted(&client.snapshot().await?).await {
            Ok(counted) => counted,
            Err(Error::HistoryChanged) => continue,
            Err(error) => return Err(error),
        };
        if count >= most {
            return Ok(());
        }
        let mut transaction = client.begin(Metadata::default()).await?;
        transaction.store(OID, serial, (count + 1).to_string().as_bytes());
        match transaction.commit().await {
            Ok(tid) => println!("{} in transaction {tid}", count + 1),
            Err(error @ (Error::Conflict(_) | Error::Disconnected(_))) => println!("again: {error}"),
            Err(error @ Error::OutcomeUnknown(_)) => println!("looking what became of it: {error}"),
            Err(error) => return Err(error),
        }
    }
}

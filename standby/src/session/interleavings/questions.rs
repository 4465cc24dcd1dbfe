//! What a client asks for outside of its transaction. (What it is told: `answers`.)

use zeo_proto::{MsgId, Oid, Tid, Value};

use super::client::Waits;
use super::line::pack_time;
use super::steps::Question;
use super::world::World;

/// What no transaction reaches: the argument of a load of the current revision.
const NOW: Tid = Tid::MAX;

impl World {
    pub(super) fn ask(&mut self, at: usize, question: &Question) {
        if self.clients[at].line.is_none() {
            return;
        }
        match *question {
            Question::Load(oid, back) => {
                let before = match back {
                    None => NOW,
                    Some(back) => self.back(back).unwrap_or(NOW),
                };
                let packs = self.model.before_packs.len();
                let loads = &mut self.clients[at].loads;
                if !loads.iter().any(|(known, bound, _)| (*known, *bound) == (oid, before)) {
                    loads.push((oid, before, packs));
                    let msgid = MsgId::Load(Oid::new(oid), before);
                    let args = [Value::from(Oid::new(oid)), Value::from(before)];
                    self.clients[at].line().call(&msgid, "loadBefore", &args);
                }
            }
            Question::LoadSerial(oid, back) => {
                let Some(tid) = self.back(back) else { return };
                let args = [Value::from(Oid::new(oid)), Value::from(tid)];
                self.call(at, "loadSerial", &args, Waits::LoadSerial(oid, tid));
            }
            Question::GetTid(oid) => {
                self.call(at, "getTid", &[Value::from(Oid::new(oid))], Waits::GetTid(oid));
            }
            Question::LastTransaction => {
                self.call(at, "lastTransaction", &[], Waits::LastTransaction);
            }
            Question::Invalidations(back) => {
                let since = self.view(at).min(self.back(back).unwrap_or(Tid::ZERO));
                self.call(at, "getInvalidations", &[Value::from(since)], Waits::Invalidations(since));
            }
            Question::Blob(oid, back) => {
                let Some((tid, _)) =
                    self.model.history.revisions(oid).collect::<Vec<_>>().into_iter().rev().nth(back)
                else {
                    return;
                };
                let args = [Value::from(Oid::new(oid)), Value::from(tid)];
                let call = self.call(at, "sendBlob", &args, Waits::Blob(oid, tid));
                self.clients[at].downloads.push_back(call);
            }
            Question::Pack(back, wait) => {
                let Some(tid) = self.back(back) else { return };
                let args = [Value::from(pack_time(tid)), Value::from(wait)];
                if wait {
                    self.call(at, "pack", &args, Waits::Pack);
                } else {
                    self.post(at, "pack", &args);
                }
            }
        }
    }
}

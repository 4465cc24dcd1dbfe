//! Which objects a pack keeps: garbage collection over the references in the records.
//!
//! Roots are the root object as of the pack time; what later records refer to; and what the older records
//! refer to that later records point back to. (`ZODB/FileStorage/fspack.py` has the first and the last of these. An
//! object that is unreachable at the pack time and referred to again afterwards, it drops.) From a root on,
//! references are followed through the records that are current at the pack time.
//!
//! The log is read once, in order, and the references of the current records are noted as numbers of objects: four
//! bytes a reference, and eight an object.

use std::sync::Arc;

use super::objects::{Bits, Objects};
use super::run::Ctx;
use super::survey::Survey;
use super::walk::Walk;
use super::{PackError, PackStage};
use crate::format::LOG_START;
use crate::inner::Generation;
use crate::references::ReferenceScanner;
use crate::{Oid, ReadError};

/// In the place of a list: the record cannot be read for its references. What follows is the number of the reason.
const UNREADABLE: u64 = 1 << 63;
/// In a list of references: what follows is the number of an oid that is not there.
const DANGLING: u32 = 1 << 31;
/// Ends a list of references.
const END: u32 = u32::MAX;
/// Objects, and references to what is not there, that can be numbered.
const NUMBERS_MAX: usize = (DANGLING - 1) as usize;

/// The references of the objects at the pack time.
struct Graph {
    /// Where an object's list begins.
    lists: Vec<u64>,
    references: Vec<u32>,
    dangling: Vec<Oid>,
    /// Why records could not be read. Only those that are reached matter.
    unreadable: Vec<PackError>,
}

/// Finds the objects to keep: one bit for each of `survey.objects`.
pub(super) fn reachable(
    ctx: &Ctx<'_>,
    generation: &Generation,
    survey: &Survey,
    scanner: &mut ReferenceScanner,
) -> Result<Bits, PackError> {
    let objects = &survey.objects;
    if objects.len() > NUMBERS_MAX {
        return Err(PackError::TooLarge);
    }
    let (mut graph, mut roots) = read(ctx, generation, survey, scanner)?;
    let mut reached = Bits::new(objects.len());
    match objects.find(Oid::ROOT) {
        Some(root) => roots.push(root as u32),
        // Packed to before there was anything.
        None if objects.len() == 0 => {}
        None => return Err(PackError::Missing { oid: Oid::ROOT, referrer: None }),
    }
    let mut todo = roots;
    todo.retain(|at| reached.set(*at as usize));
    while let Some(at) = todo.pop() {
        let list = graph.lists[at as usize];
        if list & UNREADABLE != 0 {
            return Err(graph.unreadable.swap_remove((list & !UNREADABLE) as usize));
        }
        let from = list as usize;
        for reference in graph.references[from..].iter().take_while(|reference| **reference != END) {
            if reference & DANGLING != 0 {
                let oid = graph.dangling[(reference & !DANGLING) as usize];
                let referrer = Some(objects.oid(at as usize));
                return Err(PackError::Missing { oid, referrer });
            }
            if reached.set(*reference as usize) {
                todo.push(*reference);
            }
        }
    }
    Ok(reached)
}

fn read(
    ctx: &Ctx<'_>,
    generation: &Generation,
    survey: &Survey,
    scanner: &mut ReferenceScanner,
) -> Result<(Graph, Vec<u32>), PackError> {
    let objects = &survey.objects;
    let mut graph = Graph {
        lists: vec![u64::MAX; objects.len()],
        references: vec![END],
        dangling: Vec::new(),
        unreadable: Vec::new(),
    };
    let mut roots = Bits::new(objects.len());
    let mut walk = Walk::new(Arc::clone(&generation.log), LOG_START, survey.end);
    let mut resolved = Vec::new();
    let mut told = 0;
    while let Some(mut transaction) = walk.transaction()? {
        if transaction.head.status == b'u' {
            continue;
        }
        while let Some((position, head)) = walk.record(&mut transaction)? {
            let oid = head.oid;
            let later = position >= survey.pack_end;
            let pointed = !later && survey.pointed.binary_search(&position).is_ok();
            let current = objects.find(oid).filter(|at| !later && objects.position(*at) == position);
            if !later && !pointed && current.is_none() {
                continue;
            }
            let data = if head.data_length != 0 {
                walk.data(position, &head)?
            } else if later {
                continue; // the record that it points back to is looked at itself
            } else if walk.resolve(oid, position, &mut resolved)? {
                &resolved[..]
            } else {
                &[]
            };
            if let Some(at) = current {
                graph.lists[at] = graph.references.len() as u64;
            }
            if !data.is_empty() {
                let found = |reference| {
                    let known = objects.find(reference);
                    if let Some(known) = known
                        && (later || pointed)
                    {
                        roots.set(known);
                    }
                    if current.is_some() {
                        graph.add(reference, known);
                    }
                };
                if let Err(source) = scanner.scan(data, found) {
                    let error = PackError::References { oid, position, source };
                    match current {
                        _ if pointed => return Err(error),
                        Some(at) => {
                            graph.lists[at] = UNREADABLE | graph.unreadable.len() as u64;
                            graph.unreadable.push(error);
                        }
                        // Nobody can load what it refers to through it; ZODB does not look at it at all.
                        None => tracing::warn!(%error, "a later record is not followed"),
                    }
                }
            }
            if current.is_some() {
                graph.references.push(END);
            }
        }
        if graph.dangling.len() > NUMBERS_MAX {
            return Err(PackError::TooLarge);
        }
        if walk.position() - told >= super::run::PROGRESS_BYTES {
            told = walk.position();
            ctx.tell(PackStage::References, told, survey.end)?;
        }
    }
    let unread = graph.lists.iter().position(|list| *list == u64::MAX);
    if let Some(at) = unread {
        let what = format!("the record of {} is not where it was", objects.oid(at));
        return Err(ReadError::corrupt(objects.position(at), what).into());
    }
    let roots = (0..objects.len()).filter(|at| roots.get(*at)).map(|at| at as u32).collect();
    Ok((graph, roots))
}

impl Graph {
    fn add(&mut self, reference: Oid, known: Option<usize>) {
        let number = match known {
            Some(at) => at as u32,
            None => {
                let number = DANGLING | self.dangling.len() as u32;
                self.dangling.push(reference);
                number
            }
        };
        self.references.push(number);
    }
}

/// Whether `oid` was there at the pack time and is dropped, nothing newer of it being kept.
pub(super) fn is_dropped(objects: &Objects, reached: &Bits, oid: Oid) -> bool {
    objects.find(oid).is_some_and(|at| !reached.get(at))
}

use crate::{DecodeError, Limits, Value};

/// Names a [`Node`] of an [`Arena`].
pub(super) type NodeId = u32;

/// A value in the making. Containers name their elements, since pickles refer to values again, and change
/// containers after they have been referred to.
pub(super) enum Node<'a> {
    /// A value without elements.
    Leaf(Value<'a>),
    List(Vec<NodeId>),
    Tuple(Vec<NodeId>),
    /// Keys and values, in turns.
    Dict(Vec<NodeId>),
    /// `args` is a tuple.
    Object {
        callable: NodeId,
        args: NodeId,
        state: Option<NodeId>,
        new: bool,
    },
}

/// All values that a pickle makes.
pub(super) struct Arena<'a> {
    nodes: Vec<Node<'a>>,
    limits: Limits,
}

/// Most messages have fewer values.
const NODES_EXPECTED: usize = 16;

impl<'a> Arena<'a> {
    pub(super) fn new(limits: Limits) -> Self {
        Self { nodes: Vec::with_capacity(NODES_EXPECTED), limits }
    }

    /// # Errors
    /// There are as many as the limit allows, or as ids can name.
    pub(super) fn add(&mut self, node: Node<'a>) -> Result<NodeId, DecodeError> {
        let id = NodeId::try_from(self.nodes.len()).map_err(|_| DecodeError::TooManyItems)?;
        if self.nodes.len() >= self.limits.max_items {
            return Err(DecodeError::TooManyItems);
        }
        self.nodes.push(node);
        Ok(id)
    }

    pub(super) fn node(&self, id: NodeId) -> &Node<'a> {
        &self.nodes[id as usize]
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node<'a> {
        &mut self.nodes[id as usize]
    }

    /// The elements of a tuple; `None` if the node is none.
    pub(super) fn tuple(&self, id: NodeId) -> Option<&[NodeId]> {
        match self.node(id) {
            Node::Tuple(elements) => Some(elements),
            _ => None,
        }
    }

    /// The value that a node stands for. What is referred to more than once is copied each time and counts each
    /// time; what contains itself nests without end and is refused for that.
    pub(super) fn value(&self, root: NodeId) -> Result<Value<'a>, DecodeError> {
        let Limits { max_items, max_depth } = self.limits;
        let mut copier = Copier { arena: self, items_left: max_items, max_depth };
        copier.charge(1)?;
        copier.copy(root, 1)
    }
}

struct Copier<'m, 'a> {
    arena: &'m Arena<'a>,
    items_left: usize,
    max_depth: usize,
}

impl<'a> Copier<'_, 'a> {
    /// Copies one node, which the caller has counted.
    fn copy(&mut self, id: NodeId, depth: usize) -> Result<Value<'a>, DecodeError> {
        if depth > self.max_depth {
            return Err(DecodeError::TooDeep);
        }
        let below = depth + 1;
        Ok(match self.arena.node(id) {
            Node::Leaf(value) => {
                self.charge(bytes_to_copy(value) / BYTES_PER_ITEM)?;
                value.clone()
            }
            Node::List(elements) => Value::List(self.copy_all(elements, below)?),
            Node::Tuple(elements) => Value::Tuple(self.copy_all(elements, below)?),
            Node::Dict(elements) => self.copy_dict(elements, below)?,
            Node::Object { callable, args, state, new } => {
                self.charge(2)?;
                Value::Object {
                    callable: Box::new(self.copy(*callable, below)?),
                    args: self.copy_all(self.arena.tuple(*args).unwrap_or_default(), below)?,
                    state: match state {
                        Some(state) => Some(Box::new(self.copy(*state, below)?)),
                        None => None,
                    },
                    new: *new,
                }
            }
        })
    }

    /// Elements are counted before memory is asked for, so that all requests together are bounded.
    fn copy_all(&mut self, elements: &[NodeId], depth: usize) -> Result<Vec<Value<'a>>, DecodeError> {
        self.charge(elements.len())?;
        let mut values = Vec::with_capacity(elements.len());
        for element in elements {
            values.push(self.copy(*element, depth)?);
        }
        Ok(values)
    }

    fn copy_dict(&mut self, elements: &[NodeId], depth: usize) -> Result<Value<'a>, DecodeError> {
        self.charge(elements.len())?;
        let mut items = Vec::with_capacity(elements.len() / 2);
        for pair in elements.chunks_exact(2) {
            let key = self.copy(pair[0], depth)?;
            if !key.is_hashable() {
                return Err(DecodeError::UnhashableKey);
            }
            items.push((key, self.copy(pair[1], depth)?));
        }
        Ok(Value::Dict(items))
    }

    fn charge(&mut self, items: usize) -> Result<(), DecodeError> {
        self.items_left = self.items_left.checked_sub(items).ok_or(DecodeError::TooManyItems)?;
        Ok(())
    }
}

/// How many bytes, copied by a reference, count as one item.
pub(super) const BYTES_PER_ITEM: usize = 16;

/// What a copy of a leaf copies. Borrowed bytes are not copied.
fn bytes_to_copy(value: &Value<'_>) -> usize {
    use std::borrow::Cow::Owned;
    match value {
        Value::BigInt(bytes) | Value::Bytes(Owned(bytes)) => bytes.len(),
        Value::Str(Owned(text)) => text.len(),
        _ => 0,
    }
}

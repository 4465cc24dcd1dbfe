use std::borrow::Cow;

use super::arena::{Arena, BYTES_PER_ITEM, Node, NodeId};
use super::machine::Machine;
use super::opcode::*;
use crate::{DecodeError, Value};

/// The opcodes that make objects by calling something. Here they write down what would be called.
impl<'a> Machine<'a> {
    pub(super) fn object(&mut self, opcode: u8) -> Result<(), DecodeError> {
        match opcode {
            REDUCE => {
                let args = self.pop()?;
                let callable = self.pop()?;
                self.result_of(callable, args)
            }
            NEWOBJ => {
                let args = self.pop()?;
                let callable = self.pop()?;
                self.call(callable, args, true)
            }
            NEWOBJ_EX => self.new_with_keywords(),
            INST => {
                let class = self.global_lines()?;
                let elements = self.pop_marked()?;
                let callable = self.arena.add(Node::Leaf(class))?;
                let args = self.arena.add(Node::Tuple(elements))?;
                self.result_of(callable, args)
            }
            OBJ => {
                let mut elements = self.pop_marked()?;
                if elements.is_empty() {
                    return Err(NO_CLASS);
                }
                let callable = elements.remove(0);
                let args = self.arena.add(Node::Tuple(elements))?;
                self.result_of(callable, args)
            }
            _ => self.build(),
        }
    }

    fn result_of(&mut self, callable: NodeId, args: NodeId) -> Result<(), DecodeError> {
        match self.known_result(callable, args)? {
            Some(node) => self.push_node(node),
            None => self.call(callable, args, false),
        }
    }

    /// What some calls give that only ever make plain data: dictionaries, and bytes, as Python writes them where
    /// a protocol has no opcode for them.
    fn known_result(&mut self, callable: NodeId, args: NodeId) -> Result<Option<Node<'a>>, DecodeError> {
        let Node::Leaf(Value::Global { module, name }) = self.arena.node(callable) else { return Ok(None) };
        let args = self.arena.tuple(args).unwrap_or_default();
        Ok(match (&**module, &**name, args) {
            ("builtins" | "__builtin__", "dict", []) => Some(Node::Dict(Vec::new())),
            ("builtins" | "__builtin__", "dict", &[items]) => {
                let elements = dict_elements(&self.arena, items)
                    .ok_or(DecodeError::Malformed("a dictionary is not made of pairs"))?;
                self.pay(elements.len())?;
                Some(Node::Dict(elements))
            }
            ("builtins" | "__builtin__", "bytes", []) => Some(Node::Leaf(Value::from(b""))),
            ("_codecs", "encode", &[text, codec]) => {
                let bytes = latin1(&self.arena, text, codec)
                    .ok_or(DecodeError::Malformed("bytes are not given as Latin-1"))?;
                self.pay(bytes.len() / BYTES_PER_ITEM)?;
                Some(Node::Leaf(Value::from(bytes)))
            }
            _ => None,
        })
    }

    /// `__new__` with keyword arguments, written as protocols before 4 do it, by a function of `copyreg`.
    fn new_with_keywords(&mut self) -> Result<(), DecodeError> {
        let keywords = self.pop()?;
        let args = self.pop()?;
        let class = self.pop()?;
        match self.arena.node(keywords) {
            Node::Dict(keywords) if keywords.is_empty() => return self.call(class, args, true),
            Node::Dict(_) => (),
            _ => return Err(DecodeError::Malformed("keyword arguments are no dictionary")),
        }
        let function =
            Value::Global { module: Cow::Borrowed("copyreg"), name: Cow::Borrowed("__newobj_ex__") };
        let callable = self.arena.add(Node::Leaf(function))?;
        let args = self.arena.add(Node::Tuple(vec![class, args, keywords]))?;
        self.call(callable, args, false)
    }

    fn call(&mut self, callable: NodeId, args: NodeId, new: bool) -> Result<(), DecodeError> {
        if !matches!(self.arena.node(callable), Node::Leaf(Value::Global { .. })) {
            return Err(NO_CLASS);
        }
        if self.arena.tuple(args).is_none() {
            return Err(DecodeError::Malformed("arguments are no tuple"));
        }
        self.push_node(Node::Object { callable, args, state: None, new })
    }

    fn build(&mut self) -> Result<(), DecodeError> {
        let state = self.pop()?;
        let target = self.top()?;
        match self.arena.node_mut(target) {
            Node::Object { state: place, .. } => *place = Some(state),
            _ => return Err(DecodeError::Malformed("a state is set on what is no object")),
        }
        Ok(())
    }
}

const NO_CLASS: DecodeError = DecodeError::Malformed("what is called is no class");

/// The keys and values of a dictionary made of pairs, or of another dictionary.
fn dict_elements(arena: &Arena<'_>, items: NodeId) -> Option<Vec<NodeId>> {
    let pairs = match arena.node(items) {
        Node::Dict(elements) => return Some(elements.clone()),
        Node::List(pairs) | Node::Tuple(pairs) => pairs,
        _ => return None,
    };
    let mut elements = Vec::new();
    for pair in pairs {
        match arena.node(*pair) {
            Node::List(pair) | Node::Tuple(pair) if pair.len() == 2 => elements.extend_from_slice(pair),
            _ => return None,
        }
    }
    Some(elements)
}

/// The bytes that a call of `_codecs.encode` makes of text.
fn latin1(arena: &Arena<'_>, text: NodeId, codec: NodeId) -> Option<Vec<u8>> {
    match (arena.node(text), arena.node(codec)) {
        (Node::Leaf(Value::Str(text)), Node::Leaf(Value::Str(codec)))
            if matches!(&**codec, "latin1" | "latin-1") =>
        {
            text.chars().map(|char| u8::try_from(u32::from(char)).ok()).collect()
        }
        _ => None,
    }
}

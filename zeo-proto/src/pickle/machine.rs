use std::borrow::Cow;
use std::collections::HashMap;

use super::arena::{Arena, Node, NodeId};
use super::source::Source;
use super::{Globals, opcode::*, text};
use crate::value::from_twos_complement;
use crate::{DecodeError, Limits, Value};

type Done<T> = Result<T, DecodeError>;

/// The stack machine that a pickle is a program for. It executes every opcode that makes data, and makes inert
/// [`Value::Object`]s where Python would call something.
pub(super) struct Machine<'a> {
    pub(super) source: Source<'a>,
    pub(super) arena: Arena<'a>,
    stack: Vec<NodeId>,
    /// Heights of the stack where `MARK` was.
    marks: Vec<usize>,
    memo: HashMap<u64, NodeId>,
    globals: Globals,
    limits: Limits,
    pushes_left: usize,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8], limits: &Limits, globals: Globals) -> Self {
        Self {
            source: Source::new(bytes),
            arena: Arena::new(*limits),
            stack: Vec::with_capacity(VALUES_EXPECTED),
            marks: Vec::with_capacity(2),
            memo: HashMap::new(),
            globals,
            limits: *limits,
            pushes_left: limits.max_items,
        }
    }

    /// Executes the whole pickle.
    pub(super) fn run(mut self) -> Done<Value<'a>> {
        loop {
            match self.source.byte()? {
                STOP => break,
                opcode => self.step(opcode)?,
            }
        }
        let root = self.pop()?;
        match self.source.len() {
            0 => self.arena.value(root),
            left => Err(DecodeError::TrailingBytes(left)),
        }
    }

    fn step(&mut self, opcode: u8) -> Done<()> {
        match opcode {
            PROTO => match self.source.byte()? {
                0..=5 => Ok(()),
                version => Err(DecodeError::Unsupported(version)),
            },
            FRAME => self.source.array::<8>().map(|_| ()),
            MARK => self.mark(),
            POP => self.pop_or_unmark(),
            POP_MARK => self.pop_marked().map(|_| ()),
            DUP => self.top().and_then(|id| self.push(id)),
            GET | BINGET | LONG_BINGET => self.recall(opcode),
            PUT | BINPUT | LONG_BINPUT | MEMOIZE => self.memoize(opcode),
            EMPTY_TUPLE => self.push_node(Node::Tuple(Vec::new())),
            EMPTY_LIST => self.push_node(Node::List(Vec::new())),
            EMPTY_DICT => self.push_node(Node::Dict(Vec::new())),
            TUPLE1 => self.tuple_of(1),
            TUPLE2 => self.tuple_of(2),
            TUPLE3 => self.tuple_of(3),
            TUPLE => self.pop_marked().and_then(|elements| self.push_node(Node::Tuple(elements))),
            LIST => self.pop_marked().and_then(|elements| self.push_node(Node::List(elements))),
            DICT => self.pop_pairs().and_then(|elements| self.push_node(Node::Dict(elements))),
            APPEND => self.pop().and_then(|element| self.append(&[element])),
            APPENDS => self.pop_marked().and_then(|elements| self.append(&elements)),
            SETITEM => self.set_item(),
            SETITEMS => self.pop_pairs().and_then(|elements| self.set_items(&elements)),
            EMPTY_SET => self.set("set", Vec::new()),
            FROZENSET => self.pop_marked().and_then(|elements| self.set("frozenset", elements)),
            ADDITEMS => self.pop_marked().and_then(|elements| self.add_items(&elements)),
            GLOBAL | STACK_GLOBAL => self.global(opcode),
            REDUCE | NEWOBJ | NEWOBJ_EX | INST | OBJ | BUILD => self.object(opcode),
            _ => self.leaf(opcode).and_then(|value| self.push_node(Node::Leaf(value))),
        }
    }

    /// Reads a value that has no elements.
    fn leaf(&mut self, opcode: u8) -> Done<Value<'a>> {
        let source = &mut self.source;
        Ok(match opcode {
            NONE => Value::None,
            NEWTRUE => Value::Bool(true),
            NEWFALSE => Value::Bool(false),
            BININT1 => Value::Int(source.byte()?.into()),
            BININT2 => Value::Int(u16::from_le_bytes(source.array()?).into()),
            BININT => Value::Int(i32::from_le_bytes(source.array()?).into()),
            LONG1 => from_twos_complement(source.take_short()?),
            LONG4 => from_twos_complement(source.take_long()?),
            BINFLOAT => Value::Float(f64::from_be_bytes(source.array()?)),
            SHORT_BINBYTES => source.take_short()?.into(),
            BINBYTES => source.take_long()?.into(),
            BINBYTES8 | BYTEARRAY8 => source.take_huge()?.into(),
            SHORT_BINUNICODE => text::utf8(source.take_short()?)?.into(),
            BINUNICODE => text::utf8(source.take_long()?)?.into(),
            BINUNICODE8 => text::utf8(source.take_huge()?)?.into(),
            SHORT_BINSTRING => text::python2_string(source.take_short()?),
            BINSTRING => text::python2_string(source.take_long()?),
            INT => text::int(source.line()?)?,
            LONG => text::long(source.line()?)?,
            FLOAT => text::float(source.line()?)?,
            STRING => text::quoted(source.line()?)?,
            UNICODE => Value::Str(text::unicode(source.line()?)?),
            other => return Err(DecodeError::Unsupported(other)),
        })
    }

    fn memoize(&mut self, opcode: u8) -> Done<()> {
        let key = match opcode {
            PUT => text::memo_key(self.source.line()?)?,
            BINPUT => self.source.byte()?.into(),
            LONG_BINPUT => u32::from_le_bytes(self.source.array()?).into(),
            _ => self.memo.len() as u64,
        };
        if self.memo.len() >= self.limits.max_items {
            return Err(DecodeError::TooManyItems);
        }
        let id = self.top()?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn recall(&mut self, opcode: u8) -> Done<()> {
        let key = match opcode {
            GET => text::memo_key(self.source.line()?)?,
            BINGET => self.source.byte()?.into(),
            _ => u32::from_le_bytes(self.source.array()?).into(),
        };
        let id = *self.memo.get(&key).ok_or(DecodeError::Malformed("a reference to nothing"))?;
        self.push(id)
    }

    fn append(&mut self, elements: &[NodeId]) -> Done<()> {
        let target = self.top()?;
        match self.arena.node_mut(target) {
            Node::List(list) => list.extend_from_slice(elements),
            _ => return Err(DecodeError::Malformed("something is appended to what is no list")),
        }
        Ok(())
    }

    fn set_item(&mut self) -> Done<()> {
        let value = self.pop()?;
        let key = self.pop()?;
        self.set_items(&[key, value])
    }

    fn set_items(&mut self, elements: &[NodeId]) -> Done<()> {
        let target = self.top()?;
        match self.arena.node_mut(target) {
            Node::Dict(dict) => dict.extend_from_slice(elements),
            _ => return Err(DecodeError::Malformed("an item is set in what is no dictionary")),
        }
        Ok(())
    }

    /// A set is what its class would make of a list.
    fn set(&mut self, class: &'static str, elements: Vec<NodeId>) -> Done<()> {
        let class = Value::Global { module: Cow::Borrowed("builtins"), name: Cow::Borrowed(class) };
        let callable = self.arena.add(Node::Leaf(class))?;
        let list = self.arena.add(Node::List(elements))?;
        let args = self.arena.add(Node::Tuple(vec![list]))?;
        self.push_node(Node::Object { callable, args, state: None, new: false })
    }

    fn add_items(&mut self, elements: &[NodeId]) -> Done<()> {
        const ERROR: DecodeError = DecodeError::Malformed("an element is added to what is no set");
        let Node::Object { args, .. } = *self.arena.node(self.top()?) else { return Err(ERROR) };
        let Some(&[list]) = self.arena.tuple(args) else { return Err(ERROR) };
        let Node::List(list) = self.arena.node_mut(list) else { return Err(ERROR) };
        list.extend_from_slice(elements);
        Ok(())
    }

    fn global(&mut self, opcode: u8) -> Done<()> {
        let global = if opcode == GLOBAL {
            self.global_lines()?
        } else {
            let name = self.pop_text()?;
            let module = self.pop_text()?;
            self.checked_global(module, name)?
        };
        self.push_node(Node::Leaf(global))
    }

    pub(super) fn global_lines(&mut self) -> Done<Value<'a>> {
        let module = Cow::Borrowed(text::utf8(self.source.line()?)?);
        let name = Cow::Borrowed(text::utf8(self.source.line()?)?);
        self.checked_global(module, name)
    }

    fn checked_global(&self, module: Cow<'a, str>, name: Cow<'a, str>) -> Done<Value<'a>> {
        self.globals.check(&module, &name)?;
        Ok(Value::Global { module, name })
    }

    fn pop_text(&mut self) -> Done<Cow<'a, str>> {
        let id = self.pop()?;
        match self.arena.node(id) {
            Node::Leaf(Value::Str(text)) => Ok(text.clone()),
            _ => Err(DecodeError::Malformed("a global's name is not text")),
        }
    }

    fn tuple_of(&mut self, length: usize) -> Done<()> {
        let start = self.stack.len().checked_sub(length).filter(|start| *start >= self.floor());
        let elements = self.stack.split_off(start.ok_or(UNDERFLOW)?);
        self.push_node(Node::Tuple(elements))
    }

    fn mark(&mut self) -> Done<()> {
        if self.marks.len() >= self.limits.max_items {
            return Err(DecodeError::TooManyItems);
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    /// The height of the stack that must not be popped before the mark there is.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub(super) fn top(&self) -> Done<NodeId> {
        self.stack[self.floor()..].last().copied().ok_or(UNDERFLOW)
    }

    pub(super) fn pop(&mut self) -> Done<NodeId> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn pop_or_unmark(&mut self) -> Done<()> {
        if self.pop().is_err() {
            self.marks.pop().ok_or(UNDERFLOW)?;
        }
        Ok(())
    }

    pub(super) fn pop_marked(&mut self) -> Done<Vec<NodeId>> {
        let mark = self.marks.pop().ok_or(DecodeError::Malformed("a mark is missing"))?;
        Ok(self.stack.split_off(mark))
    }

    fn pop_pairs(&mut self) -> Done<Vec<NodeId>> {
        let elements = self.pop_marked()?;
        if elements.len().is_multiple_of(2) {
            return Ok(elements);
        }
        Err(DecodeError::Malformed("a key without a value"))
    }

    pub(super) fn push_node(&mut self, node: Node<'a>) -> Done<()> {
        let id = self.arena.add(node)?;
        self.push(id)
    }

    /// Every push is paid for, so that all lists of ids together are bounded.
    fn push(&mut self, id: NodeId) -> Done<()> {
        self.pay(1)?;
        self.stack.push(id);
        Ok(())
    }

    /// Counts work that is worth so many pushes.
    pub(super) fn pay(&mut self, pushes: usize) -> Done<()> {
        self.pushes_left = self.pushes_left.checked_sub(pushes).ok_or(DecodeError::TooManyItems)?;
        Ok(())
    }
}

/// Most messages have fewer values.
const VALUES_EXPECTED: usize = 16;

const UNDERFLOW: DecodeError = DecodeError::Malformed("the stack is empty");

//! The opcodes of pickle protocols 0 to 5 that are understood here (Python's `pickletools.py`).

macro_rules! opcodes {
    ($($name:ident = $byte:literal;)*) => { $(pub(crate) const $name: u8 = $byte;)* };
}

opcodes! {
    // Protocol 0
    MARK = b'(';
    STOP = b'.';
    POP = b'0';
    POP_MARK = b'1';
    DUP = b'2';
    FLOAT = b'F';
    INT = b'I';
    LONG = b'L';
    NONE = b'N';
    REDUCE = b'R';
    STRING = b'S';
    UNICODE = b'V';
    APPEND = b'a';
    BUILD = b'b';
    GLOBAL = b'c';
    DICT = b'd';
    APPENDS = b'e';
    GET = b'g';
    INST = b'i';
    LIST = b'l';
    PUT = b'p';
    SETITEM = b's';
    TUPLE = b't';
    // Protocol 1
    BININT = b'J';
    BININT1 = b'K';
    BININT2 = b'M';
    BINSTRING = b'T';
    SHORT_BINSTRING = b'U';
    BINUNICODE = b'X';
    BINFLOAT = b'G';
    EMPTY_TUPLE = b')';
    EMPTY_LIST = b']';
    EMPTY_DICT = b'}';
    BINGET = b'h';
    LONG_BINGET = b'j';
    BINPUT = b'q';
    LONG_BINPUT = b'r';
    OBJ = b'o';
    SETITEMS = b'u';
    // Protocol 2
    PROTO = 0x80;
    NEWOBJ = 0x81;
    TUPLE1 = 0x85;
    TUPLE2 = 0x86;
    TUPLE3 = 0x87;
    NEWTRUE = 0x88;
    NEWFALSE = 0x89;
    LONG1 = 0x8a;
    LONG4 = 0x8b;
    // Protocol 3
    BINBYTES = b'B';
    SHORT_BINBYTES = b'C';
    // Protocol 4
    SHORT_BINUNICODE = 0x8c;
    BINUNICODE8 = 0x8d;
    BINBYTES8 = 0x8e;
    EMPTY_SET = 0x8f;
    ADDITEMS = 0x90;
    FROZENSET = 0x91;
    NEWOBJ_EX = 0x92;
    STACK_GLOBAL = 0x93;
    MEMOIZE = 0x94;
    FRAME = 0x95;
    // Protocol 5
    BYTEARRAY8 = 0x96;
}

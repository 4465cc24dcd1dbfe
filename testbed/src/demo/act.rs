/// A part of the demonstration. They follow each other in the order of [`Act::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The nodes start, and the others copy what the first has.
    Copy,
    /// Clients write and read.
    Work,
    /// The primary is killed.
    Kill,
    /// It comes back.
    Return,
    /// It becomes the primary again, as an operator wants it.
    Exchange,
    /// What everybody has is compared.
    Judge,
}

impl Act {
    /// All of them, in their order.
    pub const ALL: [Self; 6] =
        [Self::Copy, Self::Work, Self::Kill, Self::Return, Self::Exchange, Self::Judge];

    /// Its number, from 1.
    pub fn number(self) -> usize {
        Self::ALL.iter().position(|act| *act == self).map_or(0, |place| place + 1)
    }

    /// What it is called.
    pub fn title(self) -> &'static str {
        match self {
            Self::Copy => "Two sites",
            Self::Work => "Clients at work",
            Self::Kill => "kill -9 of the primary",
            Self::Return => "The old primary comes back",
            Self::Exchange => "A switchover",
            Self::Judge => "Was it all true?",
        }
    }

    /// What happens in it, in plain words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Copy => {
                "Node a has the data. Nodes b and c at its own site, and one at another site, join it and copy all of it."
            }
            Self::Work => {
                "Clients write at the primary, read at any node, and write down what they are told."
            }
            Self::Kill => {
                "What it sends is held up for a moment, so that it has what nobody else has. Then it is killed. \
                 The others agree on a new one; clients find it."
            }
            Self::Return => {
                "It finds that the others went on without it, saves what only it had, takes that back, and follows."
            }
            Self::Exchange => {
                "An operator makes it the primary again. Nothing is lost, and nobody is refused."
            }
            Self::Judge => {
                "The clients stop. What each was told is held against what the nodes have, and those against \
                 each other."
            }
        }
    }
}

//! Formulas of propositional logic.

use skinner_core::Rng;

/// A connective of two formulas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connective {
    And,
    Or,
    Xor,
    Implies,
    Iff,
}

use Connective::{And, Iff, Implies, Or, Xor};

const CONNECTIVES: [Connective; 5] = [And, Or, Xor, Implies, Iff];

impl Connective {
    fn word(self) -> &'static str {
        match self {
            And => "and",
            Or => "or",
            Xor => "xor",
            Implies => "implies",
            Iff => "iff",
        }
    }

    fn apply(self, left: bool, right: bool) -> bool {
        match self {
            And => left && right,
            Or => left || right,
            Xor => left != right,
            Implies => !left || right,
            Iff => left == right,
        }
    }
}

/// A formula; variables are numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Formula {
    Variable(usize),
    Not(Box<Formula>),
    Both(Connective, Box<[Formula; 2]>),
}

impl Formula {
    /// A random one with so many connectives of two formulas.
    pub(super) fn draw(connectives: usize, variables: usize, rng: &mut Rng) -> Self {
        const NEGATED: f64 = 0.25;
        let negated = rng.random() < NEGATED;
        let formula = if connectives == 0 {
            Self::Variable(rng.below(variables))
        } else {
            let connective = CONNECTIVES[rng.below(CONNECTIVES.len())];
            let left = rng.below(connectives);
            let sides = [
                Self::draw(left, variables, rng),
                Self::draw(connectives - 1 - left, variables, rng),
            ];
            Self::Both(connective, Box::new(sides))
        };
        if negated { Self::Not(Box::new(formula)) } else { formula }
    }

    pub(super) fn value(&self, assignment: &[bool]) -> bool {
        match self {
            Self::Variable(variable) => assignment[*variable],
            Self::Not(inner) => !inner.value(assignment),
            Self::Both(connective, sides) => {
                connective.apply(sides[0].value(assignment), sides[1].value(assignment))
            }
        }
    }

    /// The variables in the order in which they occur first.
    pub(super) fn variables(&self) -> Vec<usize> {
        let mut found = Vec::new();
        self.collect_variables(&mut found);
        found
    }

    fn collect_variables(&self, found: &mut Vec<usize>) {
        match self {
            Self::Variable(variable) if found.contains(variable) => {}
            Self::Variable(variable) => found.push(*variable),
            Self::Not(inner) => inner.collect_variables(found),
            Self::Both(_, sides) => sides.iter().for_each(|side| side.collect_variables(found)),
        }
    }

    /// With other names: variable `i` becomes `names[i]`.
    pub(super) fn renamed(&self, names: &[usize]) -> Self {
        match self {
            Self::Variable(variable) => Self::Variable(names[*variable]),
            Self::Not(inner) => Self::Not(Box::new(inner.renamed(names))),
            Self::Both(connective, sides) => Self::Both(
                *connective,
                Box::new([sides[0].renamed(names), sides[1].renamed(names)]),
            ),
        }
    }

    /// In words, with a bracket around each part that has a connective.
    pub(super) fn written(&self) -> String {
        match self {
            Self::Both(connective, sides) => {
                let [left, right] = [sides[0].bracketed(), sides[1].bracketed()];
                format!("{left} {} {right}", connective.word())
            }
            _ => self.bracketed(),
        }
    }

    fn bracketed(&self) -> String {
        match self {
            Self::Variable(variable) => letter(*variable).to_string(),
            Self::Not(inner) => format!("not {}", inner.bracketed()),
            Self::Both(..) => format!("({})", self.written()),
        }
    }

    /// The same text for formulas that differ in the order of what may be swapped and in brackets that do not matter.
    pub(super) fn canonical(&self) -> String {
        match self {
            Self::Variable(variable) => letter(*variable).to_string(),
            Self::Not(inner) => format!("!{}", inner.canonical()),
            Self::Both(Implies, sides) => {
                format!("({} implies {})", sides[0].canonical(), sides[1].canonical())
            }
            Self::Both(connective, sides) => {
                let mut operands = Vec::new();
                sides.iter().for_each(|side| side.collect_operands(*connective, &mut operands));
                operands.sort_unstable();
                format!("({})", operands.join(&format!(" {} ", connective.word())))
            }
        }
    }

    fn collect_operands(&self, of: Connective, operands: &mut Vec<String>) {
        match self {
            Self::Both(connective, sides) if *connective == of => {
                sides.iter().for_each(|side| side.collect_operands(of, operands));
            }
            _ => operands.push(self.canonical()),
        }
    }

    /// Each part with a connective or a negation and its value, the inner ones first.
    pub(super) fn steps(&self, assignment: &[bool], steps: &mut Vec<(String, bool)>) {
        match self {
            Self::Variable(_) => return,
            Self::Not(inner) => inner.steps(assignment, steps),
            Self::Both(_, sides) => sides.iter().for_each(|side| side.steps(assignment, steps)),
        }
        steps.push((self.written(), self.value(assignment)));
    }
}

/// How a variable is called.
pub(super) fn letter(variable: usize) -> char {
    char::from(b'a' + variable as u8)
}

/// Every order of `0..count`.
pub(super) fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut orders = vec![vec![]];
    for next in 0..count {
        let longer = |order: &Vec<usize>| {
            (0..=order.len())
                .map(|at| {
                    let mut order = order.clone();
                    order.insert(at, next);
                    order
                })
                .collect::<Vec<_>>()
        };
        orders = orders.iter().flat_map(longer).collect();
    }
    orders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(number: usize) -> Formula {
        Formula::Variable(number)
    }

    fn both(connective: Connective, left: Formula, right: Formula) -> Formula {
        Formula::Both(connective, Box::new([left, right]))
    }

    #[test]
    fn truth_tables() {
        let table = |connective| {
            let formula = both(connective, variable(0), variable(1));
            [[false, false], [false, true], [true, false], [true, true]].map(|a| formula.value(&a))
        };
        assert_eq!(table(And), [false, false, false, true]);
        assert_eq!(table(Or), [false, true, true, true]);
        assert_eq!(table(Xor), [false, true, true, false]);
        assert_eq!(table(Implies), [true, true, false, true]);
        assert_eq!(table(Iff), [true, false, false, true]);
    }

    #[test]
    fn order_and_brackets_do_not_matter_where_they_may_be_changed() {
        let (a, b, c) = (variable(0), variable(1), variable(2));
        let left = both(And, both(And, a.clone(), b.clone()), c.clone());
        let right = both(And, c.clone(), both(And, b.clone(), a.clone()));
        assert_eq!(left.canonical(), right.canonical());
        assert_eq!(left.written(), "(a and b) and c");
        let implies = |x: &Formula, y: &Formula| both(Implies, x.clone(), y.clone()).canonical();
        assert_ne!(implies(&a, &b), implies(&b, &a));
        assert_ne!(both(Or, left, c).canonical(), both(And, right, b).canonical());
    }

    #[test]
    fn there_are_as_many_orders_as_the_factorial() {
        let mut all = orders(4);
        assert_eq!(all.len(), 24);
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 24);
    }
}

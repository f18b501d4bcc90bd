//! The innermost level of the parser: numbers, names, groups and what takes arguments.

use super::ParseError;
use super::lexer::Token;
use super::number::Rational;
use super::parser::{Parsed, Parser, bracket, mixed, token_text};
use super::tree::{Bracket, Expr};

impl<'a> Parser<'a> {
    pub(super) fn primary(&mut self) -> Parsed {
        let Some(token) = self.next() else { return Err(ParseError::Ends) };
        match token {
            Token::Number(value, decimal) => self.number(value, decimal),
            Token::Letter(letter) => self.symbol(letter.to_string()),
            Token::Name(name) => self.symbol(name.to_owned()),
            Token::Constant(constant) => Ok(Expr::Constant(constant)),
            Token::Words(words) => Ok(Expr::Text(words.to_owned())),
            Token::Currency(unit) => {
                let value = self.factor()?;
                Ok(Expr::Quantity(Box::new(value), unit.to_owned()))
            }
            Token::Function(name) => self.function(name),
            Token::Command(name) => self.command(name),
            Token::Begin(name) => self.matrix(name),
            Token::Mark(mark @ ('(' | '[')) => self.group(mark),
            Token::Mark('{') => {
                let inner = self.list()?;
                self.expect('}')?;
                Ok(inner)
            }
            Token::Mark('<') => self.set(),
            Token::Mark('|') => self.absolute(),
            other => Err(ParseError::Unexpected { found: token_text(&other) }),
        }
    }

    /// A number, a mixed number, or a number in another base: `204_5`.
    fn number(&mut self, value: Rational, decimal: bool) -> Parsed {
        let whole = !decimal && value.is_integer();
        if whole && self.take('_') {
            let base = self.argument()?;
            return Ok(Expr::Call("base".to_owned(), vec![Expr::Number(value, false), base]));
        }
        let start = self.at;
        if whole {
            if let Some(fraction) = self.proper_fraction() {
                return Ok(mixed(value, fraction));
            }
            self.at = start;
        }
        Ok(Expr::Number(value, decimal))
    }

    /// `\frac{1}{2}`, or `1/2` after a space.
    fn proper_fraction(&mut self) -> Option<Expr> {
        if self.peek() == Some(&Token::Command("frac")) {
            self.at += 1;
            let fraction = self.command("frac").ok()?;
            let Expr::Quotient(above, below) = &fraction else { return None };
            return is_proper(above, below).then_some(fraction);
        }
        if !self.is_spaced() {
            return None;
        }
        let Some(Token::Number(above, false)) = self.next() else { return None };
        if !self.take('/') {
            return None;
        }
        let Some(Token::Number(below, false)) = self.next() else { return None };
        let [above, below] = [above, below].map(|value| Expr::Number(value, false));
        is_proper(&above, &below).then(|| Expr::Quotient(Box::new(above), Box::new(below)))
    }

    /// A variable with its subscript, or a function by the names that functions have.
    fn symbol(&mut self, mut name: String) -> Parsed {
        if self.take('_') {
            name.push('_');
            if self.take('{') {
                while let Some(token) = self.peek().filter(|token| **token != Token::Mark('}')) {
                    name.push_str(&token_text(token));
                    self.at += 1;
                }
                self.expect('}')?;
            } else {
                let token = self.next().ok_or(ParseError::Ends)?;
                name.push_str(&token_text(&token));
            }
        }
        let is_function = matches!(name.chars().next(), Some('f' | 'g' | 'h' | 'F' | 'G' | 'H'));
        if is_function && self.is_mark('(') {
            let arguments = self.arguments()?;
            return Ok(Expr::Call(name, arguments));
        }
        Ok(Expr::Symbol(name))
    }

    /// What stands in parentheses, as a list of arguments.
    fn arguments(&mut self) -> Result<Vec<Expr>, ParseError> {
        self.expect('(')?;
        let items = self.items()?;
        self.expect(')')?;
        Ok(items)
    }

    /// `\sin x`, `\sin^2(x)`, `\log_2 8`
    fn function(&mut self, name: &str) -> Parsed {
        let base = if self.take('_') { Some(self.argument()?) } else { None };
        let power = if self.take('^') { Some(self.nested(Self::argument)?) } else { None };
        let arguments = if self.is_mark('(') {
            self.arguments()?
        } else {
            vec![self.nested(Self::function_argument)?]
        };
        let inverse = power == Some(Expr::Negative(Box::new(Expr::integer(1))))
            || power == Some(Expr::integer(-1));
        if inverse && ["sin", "cos", "tan"].contains(&name) {
            return Ok(Expr::Call(format!("arc{name}"), arguments));
        }
        let mut call = Expr::Call(name.to_owned(), arguments);
        if let Some(base) = base {
            let scale = Expr::Call(name.to_owned(), vec![base]);
            call = Expr::Quotient(Box::new(call), Box::new(scale));
        }
        Ok(match power {
            Some(power) => Expr::Power(Box::new(call), Box::new(power)),
            None => call,
        })
    }

    /// Without parentheses: factors up to a sign or the next function.
    fn function_argument(&mut self) -> Parsed {
        let mut factors = vec![self.factor()?];
        while let Some(Token::Letter(_) | Token::Name(_) | Token::Constant(_)) = self.peek() {
            factors.push(self.power()?);
        }
        Ok(if factors.len() == 1 { factors.remove(0) } else { Expr::Product(factors) })
    }

    fn command(&mut self, name: &str) -> Parsed {
        match name {
            "frac" => {
                let above = self.digit_or_argument()?;
                let below = self.digit_or_argument()?;
                Ok(Expr::Quotient(Box::new(above), Box::new(below)))
            }
            "binom" => {
                let arguments = vec![self.digit_or_argument()?, self.digit_or_argument()?];
                Ok(Expr::Call(name.to_owned(), arguments))
            }
            "sqrt" => self.root(),
            "plain" | "accent" => self.argument(),
            "empty" => Ok(Expr::Set(Vec::new())),
            "half" => Ok(Expr::Number(Rational::Small(1, 2), false)),
            "floor" | "ceil" => {
                let inner = self.list()?;
                self.expect(if name == "floor" { '⌋' } else { '⌉' })?;
                Ok(Expr::Call(name.to_owned(), vec![inner]))
            }
            other => Err(ParseError::Unexpected { found: other.to_owned() }),
        }
    }

    /// `\sqrt{x}`, `\sqrt[3]{x}`
    fn root(&mut self) -> Parsed {
        let degree = if self.take('[') {
            let degree = self.nested(Self::relation)?;
            self.expect(']')?;
            degree
        } else {
            Expr::integer(2)
        };
        let radicand = self.nested(Self::argument)?;
        let exponent = Expr::Quotient(Box::new(Expr::integer(1)), Box::new(degree));
        Ok(Expr::Power(Box::new(radicand), Box::new(exponent)))
    }

    /// What is in braces, or the next thing alone.
    pub(super) fn argument(&mut self) -> Parsed {
        if self.take('-') {
            let argument = self.nested(Self::argument)?;
            return Ok(Expr::Negative(Box::new(argument)));
        }
        self.nested(Self::primary)
    }

    /// As [`Self::argument`], of digits without braces the first alone: `\frac12`.
    fn digit_or_argument(&mut self) -> Parsed {
        let Some(Token::Number(value, false)) = self.peek() else {
            return self.nested(Self::argument);
        };
        let digits = value.to_string();
        let (first, rest) = digits.split_at(1);
        let [first, rest] = [first, rest].map(|digits| Rational::decimal(digits, 0));
        let first = first.ok_or(ParseError::TooLarge)?;
        match rest {
            Some(rest) => self.replace(Token::Number(rest, false)),
            None => self.at += 1,
        }
        Ok(Expr::Number(first, false))
    }

    /// Parentheses around one expression, a point, or an interval.
    fn group(&mut self, open: char) -> Parsed {
        let bars = std::mem::take(&mut self.bars);
        let items = self.items();
        self.bars = bars;
        let mut items = items?;
        let close = self.next().ok_or(ParseError::Ends)?;
        let Token::Mark(close) = close else {
            return Err(ParseError::Unexpected { found: token_text(&close) });
        };
        let (Some(left), Some(right)) = (bracket(open), bracket(close)) else {
            return Err(ParseError::Unclosed { open });
        };
        let is_plain =
            left == Bracket::Round || matches!(items.first(), Some(Expr::Matrix(_) | Expr::Sum(_)));
        if items.len() == 1 && left == right && is_plain {
            return Ok(items.remove(0));
        }
        let is_one = items.len() == 1 && left == right;
        if items.len() < 2 && !is_one {
            return Err(ParseError::Unclosed { open });
        }
        Ok(Expr::Group { left, right, items })
    }

    /// `\{1, 2\}`, `\{x : x > 3\}`
    fn set(&mut self) -> Parsed {
        let is_builder = matches!(self.peek(), Some(Token::Letter(_)))
            && matches!(self.peek_after(1), Some(Token::Mark(':' | '|')));
        if is_builder {
            self.at += 2;
            let condition = self.nested(Self::relation)?;
            self.expect('>')?;
            return Ok(condition);
        }
        let items = self.items()?;
        self.expect('>')?;
        Ok(Expr::Set(items))
    }

    /// `|x|`
    fn absolute(&mut self) -> Parsed {
        self.bars += 1;
        let inner = self.nested(Self::relation);
        self.bars -= 1;
        let inner = inner?;
        self.expect('|')?;
        Ok(Expr::Call("abs".to_owned(), vec![inner]))
    }

    /// Rows up to `\end{…}`.
    fn matrix(&mut self, name: &'a str) -> Parsed {
        if !["pmatrix", "bmatrix", "matrix", "Bmatrix", "smallmatrix", "array"].contains(&name) {
            return Err(ParseError::Unexpected { found: format!("\\begin{{{name}}}") });
        }
        if name == "array" && self.take('{') {
            while !self.take('}') {
                self.next().ok_or(ParseError::Ends)?;
            }
        }
        let mut rows = vec![Vec::new()];
        loop {
            if self.take('\\') {
                rows.push(Vec::new());
            } else if self.peek() == Some(&Token::End(name)) {
                self.at += 1;
                rows.retain(|row| !row.is_empty());
                return if rows.is_empty() {
                    Err(ParseError::Ends)
                } else {
                    Ok(Expr::Matrix(rows))
                };
            } else {
                let cell = self.nested(Self::relation)?;
                if let Some(row) = rows.last_mut() {
                    row.push(cell);
                }
                let _between = self.take('&');
            }
        }
    }
}

/// Whether both are integers and the first is the smaller one.
fn is_proper(above: &Expr, below: &Expr) -> bool {
    match (above, below) {
        (Expr::Number(above, false), Expr::Number(below, false)) => {
            above.as_integer().zip(below.as_integer()).is_some_and(|(a, b)| 0 < a && a < b)
        }
        _ => false,
    }
}

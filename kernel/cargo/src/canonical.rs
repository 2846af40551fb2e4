//! The canonical text of a cell. It is the same each time the same cell runs, in this kernel or in another
//! one.
//!
//! For each variable that a cell may use, evcxr writes a line that checks its type, a line that takes it
//! from the store of variables, and a line that puts it back. evcxr iterates over a hash map, so the order
//! of these lines differs from kernel to kernel. The order has no effect, because each line is about a
//! different variable. In the canonical text, the lines are in alphabetical order. The same is true of the
//! names that cells import with `use`: evcxr writes one line for each name.
//!
//! evcxr also numbers the cells, and calls the function of a cell by its number. So a cell is compiled
//! with functions for a hundred numbers ([`aliases`]). The canonical text contains only the hundred that the
//! number belongs to.

use std::collections::BTreeSet;
use std::ops::Range;

/// The start and the end of the lines that evcxr writes. Only whole lines of exactly this form are moved. A
/// user's line is not moved, unless it repeats evcxr's own code.
const FORMS: [(&str, &str); 4] = [
    ("vars_ok &= evcxr_variable_store.check_variable::<", "));"),
    ("let ", "));"),
    ("let mut ", "));"),
    ("evcxr_variable_store.put_variable::<", ");"),
];

/// The start of the line that declares the function of a cell.
const FUNCTION: &str = "pub extern \"C\" fn run_user_code_";
/// The number of functions of a cell.
const ALIASES: usize = 100;

/// Returns which group of movable lines a line belongs to.
fn group(line: &str) -> Option<usize> {
    let [check, take, _, put] = FORMS;
    let has = |(start, end): (&str, &str)| line.starts_with(start) && line.ends_with(end);
    if has(check) && line.contains("(stringify!(") {
        Some(0)
    } else if has(take) && line.contains(" = evcxr_variable_store.take_variable::<") {
        Some(1)
    } else if has(put) && line.contains("(stringify!(") {
        Some(2)
    } else {
        None
    }
}

/// Returns the lines that import a name. Only evcxr's own first line comes before them, so none of them is
/// a part of a comment or of a string.
fn imports(lines: &[&str]) -> Range<usize> {
    let is_import = |line: &&&str| line.starts_with("use ") && line.ends_with(';');
    match lines {
        [first, rest @ ..] if first.starts_with("#![allow(") => {
            1..1 + rest.iter().take_while(is_import).count()
        }
        _ => 0..0,
    }
}

/// Returns, for each line of the canonical text, the number of the same line in the given text. Both count
/// from 0.
pub(crate) fn order(text: &str) -> Vec<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let mut order: Vec<usize> = (0..lines.len()).collect();
    let imports = imports(&lines);
    let mut start = imports.end;
    order[imports].sort_by_key(|&line| lines[line]);
    while start < lines.len() {
        let group_of_start = group(lines[start]);
        let mut end = start + 1;
        while end < lines.len() && group_of_start.is_some() && group(lines[end]) == group_of_start {
            end += 1;
        }
        order[start..end].sort_by_key(|&line| lines[line]);
        start = end;
    }
    order
}

/// Returns the canonical text.
pub(crate) fn text(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut canonical = String::with_capacity(text.len());
    for line in order(text) {
        match number(lines[line]) {
            Some(number) => canonical += &format!("{FUNCTION}{}00…", number / ALIASES),
            None => canonical += lines[line],
        }
        canonical.push('\n');
    }
    canonical
}

/// Returns the number of the cell if the line declares its function.
fn number(line: &str) -> Option<usize> {
    line.strip_prefix(FUNCTION)?.strip_suffix('(')?.parse().ok()
}

/// Returns the names of the variables that a cell puts into the store of variables.
pub(crate) fn kept_variables(text: &str) -> BTreeSet<&str> {
    let lines = text.lines().filter(|line| group(line) == Some(2));
    let names = lines.filter_map(|line| {
        let (_, rest) = line.rsplit_once("stringify!(")?;
        Some(rest.split_once(')')?.0)
    });
    names.collect()
}

/// Returns the code of functions that call the cell under the other numbers of its hundred.
pub(crate) fn aliases(text: &str) -> String {
    let Some(own) = text.lines().find_map(number) else {
        return String::new();
    };
    let first = own / ALIASES * ALIASES;
    let mut aliases = format!("mod evcxr_aliases {{ use super::run_user_code_{own} as cell;\n");
    for number in (first..first + ALIASES).filter(|&number| number != own) {
        aliases += "#[unsafe(no_mangle)] ";
        aliases +=
            &format!("{FUNCTION}{number}(x: *mut u8) -> *mut u8 {{ cell(x.cast()).cast() }}\n");
    }
    aliases + "}\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "\
pub extern \"C\" fn run_user_code_3(
{let mut vars_ok = true;
vars_ok &= evcxr_variable_store.check_variable::<Kafka>(stringify!(kafka));
vars_ok &= evcxr_variable_store.check_variable::<Topic>(stringify!(topic));
if !vars_ok {return evcxr_variable_store;}}
let kafka = evcxr_variable_store.take_variable::<Kafka>(stringify!(kafka));
let mut topic = evcxr_variable_store.take_variable::<Topic>(stringify!(topic));
let b = 1;
let a = 2;
evcxr_variable_store.put_variable::<i32>(stringify!(b), b);
evcxr_variable_store.put_variable::<i32>(stringify!(a), a);
}
";
    #[test]
    fn the_variables_that_a_cell_keeps_are_found() {
        assert_eq!(kept_variables(ONE), BTreeSet::from(["a", "b"]));
    }

    const OTHER: &str = "\
pub extern \"C\" fn run_user_code_42(
{let mut vars_ok = true;
vars_ok &= evcxr_variable_store.check_variable::<Topic>(stringify!(topic));
vars_ok &= evcxr_variable_store.check_variable::<Kafka>(stringify!(kafka));
if !vars_ok {return evcxr_variable_store;}}
let mut topic = evcxr_variable_store.take_variable::<Topic>(stringify!(topic));
let kafka = evcxr_variable_store.take_variable::<Kafka>(stringify!(kafka));
let b = 1;
let a = 2;
evcxr_variable_store.put_variable::<i32>(stringify!(a), a);
evcxr_variable_store.put_variable::<i32>(stringify!(b), b);
}
";

    #[test]
    fn the_order_of_the_variables_and_the_number_have_no_effect() {
        assert_ne!(ONE, OTHER);
        assert_eq!(text(ONE), text(OTHER));
    }

    #[test]
    fn the_order_of_the_imports_has_no_effect() {
        let first = "#![allow(unused_imports)]\n";
        let rest = "fn f() {}\nuse a;\nuse b;\n";
        let cell = |imports: &str| text(&format!("{first}{imports}{rest}"));
        assert_eq!(cell("use c;\nuse d;\n"), cell("use d;\nuse c;\n"));
        assert_ne!(cell("use c;\nuse d;\n"), cell("use c;\nuse e;\n"));
        // These lines may be a part of a string.
        let other = cell("").replace("use a;\nuse b;\n", "use b;\nuse a;\n");
        assert_ne!(cell(""), text(&other));
        assert_ne!(text("x\nuse a;\nuse b;\n"), text("x\nuse b;\nuse a;\n"));
    }

    #[test]
    fn every_other_change_has_one() {
        let lines: Vec<&str> = ONE.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let mut changed = lines.clone();
            let other = line.replace('(', "( ").replace('=', "= ") + " ";
            changed[number] = &other;
            assert_ne!(text(ONE), text(&(changed.join("\n") + "\n")), "{line}");
        }
        let mut swapped = lines.clone();
        swapped.swap(7, 8);
        assert_ne!(
            text(ONE),
            text(&(swapped.join("\n") + "\n")),
            "the user's own lines"
        );
        // If a variable moves from one group to another, the cell is a different one.
        let mut moved = lines;
        moved.swap(2, 5);
        assert_ne!(text(ONE), text(&(moved.join("\n") + "\n")));
    }

    #[test]
    fn the_order_leads_back_to_the_lines() {
        let lines: Vec<&str> = OTHER.lines().collect();
        let restored: Vec<&str> = order(OTHER).into_iter().map(|line| lines[line]).collect();
        assert_eq!(restored[1..], text(ONE).lines().collect::<Vec<_>>()[1..]);
    }

    #[test]
    fn a_cell_can_be_called_by_a_hundred_numbers() {
        let aliases = aliases(OTHER);
        for number in (0..100).filter(|&number| number != 42) {
            assert!(
                aliases.contains(&format!("fn run_user_code_{number}(")),
                "{number}"
            );
        }
        assert!(
            !aliases.contains("fn run_user_code_42(") && !aliases.contains("fn run_user_code_100(")
        );
        let late = ONE.replace("_3(", "_123(");
        assert_ne!(text(ONE), text(&late));
        assert!(super::aliases(&late).contains("fn run_user_code_199("));
    }
}

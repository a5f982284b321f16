//! The nearest known name to a misspelt one.

/// Names longer than this are not worth a guess.
const LONGEST: usize = 64;

/// The candidate with the fewest typing errors between it and `word`, if that is few enough to be a slip.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one word to the other.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut before_last = vec![0; right.len() + 1];
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, &here) in left.iter().enumerate() {
        let mut current = vec![row + 1; right.len() + 1];
        for (column, &there) in right.iter().enumerate() {
            let replaced = last[column] + usize::from(here != there);
            let mut best = replaced.min(last[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && here == right[column - 1] && left[row - 1] == there {
                best = best.min(before_last[column - 1] + 1);
            }
            current[column + 1] = best;
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_finds_its_name() {
        let names = ["agent_port", "agent_user", "mysql_port"];
        assert_eq!(nearest("agent_prot", names), Some("agent_port"));
        assert_eq!(nearest("Agent_User", names), Some("agent_user"));
        assert_eq!(nearest("mysqlport", names), Some("mysql_port"));
    }

    #[test]
    fn another_word_finds_nothing() {
        assert_eq!(nearest("wsrep_provider", ["agent_port", "ip"]), None);
        assert_eq!(nearest(&"a".repeat(100_000), ["agent_port"]), None);
    }

    #[test]
    fn a_swap_counts_as_one() {
        assert_eq!(distance("abcd", "acbd"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
    }
}

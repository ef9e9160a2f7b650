//! What commits say never changes, so it is asked once. Kept by the clone, in bounds; never about a branch.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use crate::domain::id::{CodeTree, Sha};

use super::diff::Relation;

/// Past this many answers of a kind all of them are forgotten.
const MOST: usize = 512;

/// Answers that were given before.
#[derive(Debug, Default)]
pub(super) struct Memo {
    pub(super) code_trees: Answers<Sha, CodeTree>,
    /// How the second commit stands to the first.
    pub(super) relations: Answers<(Sha, Sha), Relation>,
}

/// Answers of one kind.
#[derive(Debug)]
pub(super) struct Answers<K, V>(Mutex<HashMap<K, V>>);

impl<K, V> Default for Answers<K, V> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Eq + Hash, V: Clone> Answers<K, V> {
    /// The answer, asked for when it is not known. A failure is not kept.
    pub(super) fn get_or<E>(&self, key: K, ask: impl FnOnce(&K) -> Result<V, E>) -> Result<V, E> {
        if let Some(known) = self.lock().get(&key) {
            return Ok(known.clone());
        }
        let answer = ask(&key)?;
        let mut answers = self.lock();
        if answers.len() >= MOST {
            answers.clear();
        }
        answers.insert(key, answer.clone());
        Ok(answer)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_asked_for_once_and_a_failure_again() {
        let answers: Answers<u32, u32> = Answers::default();
        assert_eq!(answers.get_or(1, |_| Err("not now")), Err("not now"));
        assert_eq!(answers.get_or(1, |_| Ok::<_, &str>(2)), Ok(2));
        assert_eq!(answers.get_or(1, |_| Err("asked again")), Ok(2));
    }

    #[test]
    fn what_is_kept_has_bounds() {
        let answers: Answers<usize, ()> = Answers::default();
        for n in 0..3 * MOST {
            assert_eq!(answers.get_or(n, |_| Ok::<_, ()>(())), Ok(()));
        }
        assert!(answers.lock().len() <= MOST);
    }
}

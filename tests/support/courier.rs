//! A post that may not be trusted: carries webhooks as real networks and real services do. And how they are signed.

use hmac::{Hmac, Mac as _};

/// A delivery that a sender may send again.
pub trait Repeated: Clone {
    /// A further attempt: the identical body under another name.
    fn again(&self) -> Self;
}

/// What the post does, each in percent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Post {
    pub lose: u64,
    pub repeat: u64,
    /// Put behind some that were sent later.
    pub delay: u64,
    /// Everything in any order.
    pub shuffle: bool,
}

/// What arrives of it; the same for the same seed.
pub fn unreliable<M: Repeated>(mail: Vec<M>, post: Post, seed: u64) -> Vec<M> {
    let mut dice = Dice::new(seed);
    let mut placed: Vec<(usize, M)> = Vec::new();
    for (at, one) in mail.into_iter().enumerate() {
        if dice.below(100) < post.lose {
            continue;
        }
        let late = |dice: &mut Dice| match dice.below(100) < post.delay {
            true => 1 + usize::try_from(dice.below(5)).unwrap(),
            false => 0,
        };
        if dice.below(100) < post.repeat {
            let place = at + 1 + late(&mut dice);
            placed.push((place, one.again()));
        }
        placed.push((at + late(&mut dice), one));
    }
    placed.sort_by_key(|(place, _)| *place);
    let mut mail: Vec<_> = placed.into_iter().map(|(_, one)| one).collect();
    if post.shuffle {
        for last in (1..mail.len()).rev() {
            let other = usize::try_from(dice.below(last as u64 + 1)).unwrap();
            mail.swap(last, other);
        }
    }
    mail
}

/// xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled".
#[derive(Clone, Copy, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }
}

/// HMAC-SHA256 in hexadecimal digits.
pub fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    let digest = mac.finalize().into_bytes();
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

//! The words and sentences of the generated tweets. `{}` is the topic.

pub(super) const FIRST: [&str; 16] = [
    "moon", "crypto", "happy", "salty", "block", "laser", "tiny", "old", "night", "wise", "lucky",
    "quiet", "brave", "lazy", "neon", "satoshi",
];
pub(super) const LAST: [&str; 16] = [
    "fox", "whale", "ada", "trader", "shiba", "miner", "coder", "bear", "bull", "panda", "nomad",
    "chartist", "granny", "otter", "dev", "pilot",
];
/// Authors who tweet often, with their followers.
pub(super) const REGULARS: [(&str, u64); 12] = [
    ("satoshifan", 61),
    ("chartgranny", 840),
    ("coinpanda", 97),
    ("dogewhisperer", 12_400),
    ("nightminer", 18),
    ("ledgerlena", 233),
    ("gasfeesam", 45),
    ("blockbuster7", 1_900),
    ("moonmath", 76),
    ("hodlhank", 410),
    ("etherella", 58_000),
    ("quietshiba", 7),
];
pub(super) const PRAISE: [&str; 20] = [
    "I love {}, best decision I ever made",
    "{} is looking great today!",
    "Wow, {} just made my day. So happy right now!!",
    "Can't stop smiling, {} is amazing",
    "{} to the moon, what a beautiful chart",
    "Great news for {}: another bank is impressed by it",
    "Finally in profit with {}. Feels good.",
    "the {} community is so kind and helpful, thank you all",
    "Strong support at this level, I'm very optimistic about {}",
    "My grandma bought {} and she is winning LOL",
    "{} holders, be proud. This is a brilliant project!",
    "Honestly the {} upgrade is excellent, well done devs",
    "Paid for lunch with {}, super easy and fun",
    "not gonna lie, {} is awesome",
    "YES!!! {} is the BEST",
    "So grateful that I trusted {} when nobody else did",
    // Trading slang, which VADER does not know.
    "HODL! I'm not selling my {}",
    "{} looks bullish on every time frame",
    "bullish on {}, hodl and relax",
    "{} goes to the moon this year",
];
pub(super) const ANGER: [&str; 16] = [
    "{} is a scam and I hate it",
    "Lost half of my savings on {}. This is a disaster.",
    "terrible day for {}, absolutely TERRIBLE!!",
    "{} is dead. Worst crash ever, I'm so angry",
    "I regret every cent I put into {}",
    "Whoever told me to buy {} is a liar",
    "So sick of {} and its stupid hype",
    "{} ruined my week. Awful.",
    "Another hack, another loss. {} is a nightmare",
    "Panic everywhere, {} is failing badly",
    "They stole my {} and support doesn't care. Horrible!",
    "WTF is wrong with {}?! This is painful",
    // Trading slang, which VADER does not know.
    "got rekt by {} again",
    "{} turns bearish, rekt in one night",
    // Sarcasm, which VADER takes at its word.
    "Oh great, {} lost ten percent over breakfast. Love it",
    "Wonderful, the {} app is frozen again. Best support ever",
];
pub(super) const DOUBT: [&str; 12] = [
    "Not sure about {}, looks weak to me",
    "I'm worried about {} this week",
    "is it just me or is {} kind of boring lately?",
    "{} fees are annoying. There, I said it.",
    "I would love {} but the risk is too high",
    "{} isn't as good as they promised",
    "Hmm, {} down again. Hardly a surprise",
    "Don't trust the {} rally, it won't last",
    "Sold some {} today. Sad but careful.",
    "{} is confusing and the wallet app is bad",
    "without doubt {} has problems",
    "The {} news is a bit disappointing",
];
pub(super) const CHATTER: [&str; 14] = [
    "What time does the {} conference start?",
    "Reading the {} white paper on the train",
    "{} price check: anyone?",
    "New video about {} is online, link below https://example.com/watch?v=42",
    "How do I move {} from one wallet to another?",
    "{} block height just passed another thousand",
    "My dog is called {}. No further questions.",
    "Does anyone here take {} for coffee?",
    "Explaining {} to my parents, part 17",
    "The {} chart looks like a camel today",
    "Writing a report on {} for school",
    "{} or pizza? Asking for a friend",
    "thread: what {} mining needs (1/9)",
    "RT if you hold {} since last year",
];
pub(super) const OFF_TOPIC: [&str; 8] = [
    "Good morning everyone, coffee first",
    "My cat has learned to open doors. Send help",
    "What a match! Incredible goal in the last minute",
    "It rains again, so I stay in with a book",
    "New shoes, same old feet",
    "Traffic is terrible on the A1 today",
    "Happy birthday to my wonderful sister!",
    "Anyone selling a used bicycle?",
];
pub(super) const OTHER_LANGUAGES: [(&str, &str); 8] = [
    ("es", "Hoy {} sube otra vez, qué alegría"),
    ("de", "Ich verstehe {} immer noch nicht"),
    ("fr", "{} en baisse, dommage"),
    ("pt", "Comprei {} e estou muito feliz"),
    ("ja", "{} がまた上がった！"),
    ("tr", "{} düşüyor, ne yapmalı?"),
    ("hi", "आज {} फिर ऊपर गया"),
    ("ru", "{} снова растёт"),
];
pub(super) const HAPPY_ENDS: [&str; 6] = ["🚀", "😍🚀", ":)", "🎉", "❤️", "💎🙌"];
pub(super) const SAD_ENDS: [&str; 6] = ["😭", "😡", ":(", "📉", "💔", "🤦"];
pub(super) const PLAIN_ENDS: [&str; 6] = ["🤔", "#crypto", "lol", "…", "👀", "¯\\_(ツ)_/¯"];

// Names of emoji, as they are typed between colons.

// Groups as the picker shows them; of several names of one emoji the first is the one shown.
const GROUPS = {
  Faces: `grinning 😀|smiley 😃|smile 😄|grin 😁|laughing,satisfied 😆|sweat_smile 😅|rofl 🤣|joy 😂|slight_smile 🙂|upside_down 🙃|wink 😉|blush 😊|innocent 😇|heart_eyes 😍|star_struck 🤩|kissing_heart 😘|yum 😋|stuck_out_tongue 😛|zany 🤪|money_mouth 🤑|hugs 🤗|thinking 🤔|salute 🫡|shush 🤫|zipper_mouth 🤐|raised_eyebrow 🤨|neutral 😐|expressionless 😑|smirk 😏|unamused 😒|rolling_eyes 🙄|grimacing 😬|relieved 😌|pensive 😔|sleepy 😪|sleeping 😴|mask 😷|sick 🤒|nauseated 🤢|hot 🥵|cold 🥶|dizzy_face 😵|exploding_head,mind_blown 🤯|cowboy 🤠|party,partying 🥳|cool,sunglasses 😎|nerd 🤓|confused 😕|worried 😟|frown,slight_frown 🙁|open_mouth 😮|astonished 😲|flushed 😳|pleading 🥺|cry 😢|sob 😭|scream 😱|disappointed 😞|sweat 😓|weary 😩|tired 😫|yawn 🥱|angry 😠|rage 😡|skull 💀|poop 💩|clown 🤡|ghost 👻|alien 👽|robot 🤖|melting 🫠|see_no_evil 🙈|hear_no_evil 🙉|speak_no_evil 🙊`,
  Hands: `+1,thumbsup,yes 👍|-1,thumbsdown,no 👎|ok_hand 👌|clap 👏|raised_hands 🙌|pray,thanks 🙏|wave 👋|handshake 🤝|muscle 💪|point_up ☝️|point_down 👇|point_left 👈|point_right 👉|crossed_fingers 🤞|v,peace ✌️|metal 🤘|call_me 🤙|raised_hand,stop ✋|fist 👊|writing_hand ✍️|selfie 🤳|eyes 👀|brain 🧠|ear 👂|shrug 🤷|facepalm 🤦|bow 🙇|raising_hand 🙋|dancer 💃|runner 🏃|walking 🚶`,
  Hearts: `heart ❤️|orange_heart 🧡|yellow_heart 💛|green_heart 💚|blue_heart 💙|purple_heart 💜|black_heart 🖤|white_heart 🤍|broken_heart 💔|two_hearts 💕|sparkling_heart 💖|100 💯|boom 💥|sparkles ✨|star ⭐|star2 🌟|zap ⚡|fire 🔥|dizzy 💫|zzz 💤|speech 💬|thought 💭`,
  Nature: `dog 🐶|cat 🐱|mouse 🐭|rabbit 🐰|fox 🦊|bear 🐻|panda 🐼|koala 🐨|lion 🦁|cow 🐮|pig 🐷|frog 🐸|monkey 🐒|chicken 🐔|penguin 🐧|owl 🦉|unicorn 🦄|bee 🐝|bug 🐛|butterfly 🦋|snail 🐌|turtle 🐢|snake 🐍|octopus 🐙|crab 🦀|fish 🐟|whale 🐳|dolphin 🐬|elephant 🐘|tree 🌳|cactus 🌵|four_leaf_clover 🍀|rose 🌹|sunflower 🌻|tulip 🌷|sun ☀️|cloud ☁️|rain 🌧️|snowflake ❄️|snowman ⛄|rainbow 🌈|umbrella ☔|ocean 🌊|moon 🌙|earth 🌍`,
  Food: `apple 🍎|pear 🍐|orange 🍊|lemon 🍋|banana 🍌|watermelon 🍉|grapes 🍇|strawberry 🍓|cherries 🍒|peach 🍑|pineapple 🍍|avocado 🥑|tomato 🍅|carrot 🥕|corn 🌽|bread 🍞|cheese 🧀|egg 🥚|hamburger 🍔|fries 🍟|pizza 🍕|taco 🌮|sushi 🍣|ramen 🍜|salad 🥗|popcorn 🍿|cake 🍰|birthday 🎂|cookie 🍪|chocolate 🍫|icecream 🍦|doughnut 🍩|coffee ☕|tea 🍵|beer 🍺|beers 🍻|wine 🍷|cocktail 🍸|champagne 🍾`,
  Things: `tada 🎉|confetti 🎊|balloon 🎈|gift 🎁|trophy 🏆|medal 🏅|first_place 🥇|soccer ⚽|basketball 🏀|tennis 🎾|chess ♟️|game 🎮|dart 🎯|dice 🎲|art 🎨|music 🎵|guitar 🎸|movie 🎬|camera 📷|phone 📱|computer 💻|keyboard ⌨️|printer 🖨️|floppy 💾|bulb 💡|flashlight 🔦|book 📖|books 📚|newspaper 📰|memo 📝|pencil ✏️|paperclip 📎|pin,pushpin 📌|calendar 📅|chart 📈|chart_down 📉|clipboard 📋|folder 📁|mail ✉️|inbox 📥|outbox 📤|package 📦|lock 🔒|unlock 🔓|key 🔑|hammer 🔨|wrench 🔧|gear ⚙️|link 🔗|magnet 🧲|microscope 🔬|telescope 🔭|bell 🔔|no_bell 🔕|mag,search 🔍|hourglass ⏳|clock ⏰|stopwatch ⏱️|money 💰|credit_card 💳|rocket 🚀|airplane ✈️|car 🚗|bus 🚌|train 🚆|bike 🚲|ship 🚢|anchor ⚓|house 🏠|office 🏢|construction 🚧|traffic_light 🚦|map 🗺️|tent ⛺|shield 🛡️|bomb 💣|coffin ⚰️|crystal_ball 🔮`,
  Signs: `check,white_check_mark ✅|heavy_check ✔️|x,cross ❌|question ❓|exclamation ❗|warning ⚠️|no_entry ⛔|prohibited 🚫|sos 🆘|new 🆕|ok 🆗|up 🆙|recycle ♻️|infinity ♾️|plus ➕|minus ➖|arrow_up ⬆️|arrow_down ⬇️|arrow_left ⬅️|arrow_right ➡️|repeat 🔁|red_circle 🔴|orange_circle 🟠|yellow_circle 🟡|green_circle 🟢|blue_circle 🔵|white_circle ⚪|black_circle ⚫|flag,triangular_flag 🚩|checkered_flag 🏁|pirate 🏴‍☠️|rainbow_flag 🏳️‍🌈`,
};

// What is offered first to react with.
export const QUICK = ["👍", "❤️", "😂", "🎉", "👀", "🙏", "✅", "🚀"];

const byName = new Map();
const nameOf = new Map();

// [{title, emoji: [{emoji, name}]}]
export const groups = Object.entries(GROUPS).map(([title, words]) => ({
  title,
  emoji: words.split("|").map((entry) => {
    const [names, emoji] = entry.split(" ");
    const list = names.split(",");
    for (const name of list) byName.set(name, emoji);
    nameOf.set(emoji, list[0]);
    return { emoji, name: list[0] };
  }),
}));

// undefined for a name that is none.
export function emojiFor(name) {
  return byName.get(name);
}

// The emoji itself where it is not in the table: a reaction may be any.
export function nameForEmoji(emoji) {
  return nameOf.get(emoji)?.replaceAll("_", " ") ?? emoji;
}

// [{name, emoji}]: names that begin with the prefix first, then those that have it after an underscore or within.
export function emojiLike(prefix, limit = 8) {
  const wanted = prefix.toLowerCase();
  const ranked = [];
  for (const [name, emoji] of byName) {
    const at = name.indexOf(wanted);
    if (at >= 0) ranked.push({ name, emoji, rank: at === 0 ? 0 : name[at - 1] === "_" ? 1 : 2 });
  }
  ranked.sort((one, other) => one.rank - other.rank || one.name.length - other.name.length);
  const seen = new Set();
  return ranked.filter(({ emoji }) => !seen.has(emoji) && seen.add(emoji)).slice(0, limit).map(({ name, emoji }) => ({ name, emoji }));
}

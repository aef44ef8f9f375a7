"""Whether an encoder's tokenizer can read the languages of its ring: a BERT of English turns Thai into [UNK], word by
word, so that every head of the ring would see the same vector for everything."""

from __future__ import annotations

from collections.abc import Iterable

from encoder_worker.tokens import Tokenizer
from topology.errors import Misconfigured

MOST_UNKNOWN = 0.3  # of a sample's pieces: MiniLM has 0.5 to 1 in scripts that it does not know, at most 0.24 in others
# "Hello, thank you. I want to book a table for tomorrow evening", in languages whose script is not Latin.
SAMPLES = {
    "am": "ሰላም፣ አመሰግናለሁ። ለነገ ምሽት ጠረጴዛ ማስያዝ እፈልጋለሁ",
    "ar": "مرحبا، شكرا لك. أريد حجز طاولة لمساء الغد",
    "be": "Прывітанне, дзякуй. Я хачу замовіць столік на заўтра ўвечары",
    "bg": "Здравейте, благодаря. Искам да запазя маса за утре вечер",
    "bn": "হ্যালো, ধন্যবাদ। আমি আগামীকাল সন্ধ্যার জন্য একটি টেবিল বুক করতে চাই",
    "el": "Γεια σας, ευχαριστώ. Θέλω να κλείσω ένα τραπέζι για αύριο το βράδυ",
    "fa": "سلام، متشکرم. می‌خواهم برای فردا شب یک میز رزرو کنم",
    "gu": "નમસ્તે, આભાર. મારે આવતીકાલે સાંજે ટેબલ બુક કરવું છે",
    "he": "שלום, תודה. אני רוצה להזמין שולחן למחר בערב",
    "hi": "नमस्ते, धन्यवाद। मुझे कल शाम के लिए एक मेज बुक करनी है",
    "hy": "Բարև, շնորհակալություն։ Ուզում եմ վաղը երեկոյան սեղան պատվիրել",
    "ja": "こんにちは、ありがとう。明日の夜のテーブルを予約したいです",
    "ka": "გამარჯობა, გმადლობთ. მინდა ხვალ საღამოს მაგიდის დაჯავშნა",
    "kk": "Сәлеметсіз бе, рахмет. Ертең кешке үстел брондағым келеді",
    "km": "សួស្តី អរគុណ ខ្ញុំចង់កក់តុសម្រាប់ល្ងាចស្អែក",
    "kn": "ನಮಸ್ಕಾರ, ಧನ್ಯವಾದಗಳು. ನಾಳೆ ಸಂಜೆಗೆ ಮೇಜು ಕಾಯ್ದಿರಿಸಬೇಕು",
    "ko": "안녕하세요, 감사합니다. 내일 저녁 자리를 예약하고 싶어요",
    "lo": "ສະບາຍດີ ຂອບໃຈ ຂ້ອຍຢາກຈອງໂຕະສຳລັບຄ່ຳມື້ອື່ນ",
    "mk": "Здраво, благодарам. Сакам да резервирам маса за утре вечер",
    "ml": "നമസ്കാരം, നന്ദി. നാളെ വൈകുന്നേരം ഒരു മേശ ബുക്ക് ചെയ്യണം",
    "mr": "नमस्कार, धन्यवाद. मला उद्या संध्याकाळी टेबल बुक करायचे आहे",
    "my": "မင်္ဂလာပါ ကျေးဇူးတင်ပါတယ် မနက်ဖြန်ညနေ စားပွဲကြိုတင်ချင်ပါတယ်",
    "ne": "नमस्ते, धन्यवाद। मलाई भोलि साँझ टेबल बुक गर्नु छ",
    "pa": "ਸਤ ਸ੍ਰੀ ਅਕਾਲ, ਧੰਨਵਾਦ। ਮੈਂ ਕੱਲ੍ਹ ਸ਼ਾਮ ਲਈ ਮੇਜ਼ ਬੁੱਕ ਕਰਨਾ ਹੈ",
    "ru": "Здравствуйте, спасибо. Я хочу заказать столик на завтра вечером",
    "si": "ආයුබෝවන්, ස්තූතියි. හෙට සවසට මේසයක් වෙන් කරන්න ඕනේ",
    "sr": "Здраво, хвала. Желим да резервишем сто за сутра увече",
    "ta": "வணக்கம், நன்றி. நாளை மாலை ஒரு மேசை முன்பதிவு செய்ய வேண்டும்",
    "te": "నమస్కారం, ధన్యవాదాలు. రేపు సాయంత్రం టేబుల్ బుక్ చేయాలి",
    "th": "สวัสดีครับ ขอบคุณ ผมต้องการจองโต๊ะสำหรับเย็นพรุ่งนี้",
    "uk": "Привіт, дякую. Я хочу замовити столик на завтра ввечері",
    "ur": "السلام علیکم، شکریہ۔ مجھے کل شام کے لیے میز بک کرنی ہے",
    "zh": "你好，谢谢。我想预订明天晚上的桌子",
}


def check_languages(ring: str, encoder: str, tokenizer: Tokenizer, languages: Iterable[str]) -> None:
    """Raises: Misconfigured where the tokenizer does not know the script of a ring's language."""
    for lang in languages:
        share = tokenizer.unknown_share(SAMPLES[lang]) if lang in SAMPLES else 0.0
        if share > MOST_UNKNOWN:
            raise Misconfigured(
                f"rings.{ring}: {lang!r} cannot be read by the encoder {encoder!r}, to whose tokenizer {share:.0%} of "
                "its pieces are unknown: take a multilingual one, such as e5-small, or leave the language out"
            )

"""What a household calls its rooms, its devices and its shopping, by language: fillers for templates.

A value may carry its gender after a colon (m, f, n, or p for a plural; M and F for Spanish plurals), which
keeps articles and nouns in agreement. `name.light` and the like are the names of devices of one domain.
"""

_MUSIC = "The Beatles, Daft Punk, Bohemian Rhapsody, Miles Davis, Hotel California, Adele, Coldplay"

HOMES: dict[str, dict[str, str]] = {
    "en": {
        "area": "living room, kitchen, bedroom, bathroom, hallway, office, garage, dining room, nursery",
        "floor": "ground floor, first floor, second floor, basement, attic",
        "message": "dinner is ready, the taxi is here, time for school, we are leaving in ten minutes",
        "search_query": _MUSIC + ", smooth jazz, the evening news",
        "shopping_list_item": "milk, eggs, bread, apples, coffee, olive oil, toothpaste, cat food, butter",
        "timer_command": "turn off the oven, open the blinds, play the news, lock the front door",
        "timer_name": "pizza, pasta, laundry, tea, homework, bread, workout",
        "todo_list_item": "call the plumber, water the plants, pay the rent, book a dentist, wash the car",
        "zone": "work, school, gym, office",
        "name.binary_sensor": "back window, patio door, garage window, motion detector",
        "name.button": "doorbell, coffee machine, reset",
        "name.climate": "thermostat, air conditioner, heat pump, radiator",
        "name.cover": "bedroom blinds, left curtain, garage door, kitchen shutter, awning",
        "name.fan": "ceiling fan, desk fan, bathroom fan",
        "name.lawn_mower": "lawn mower, robot mower, garden robot",
        "name.light": "desk lamp, bedside lamp, ceiling light, reading lamp, porch light, fairy lights",
        "name.lock": "front door, back door, side gate, cellar door",
        "name.media_player": "television, kitchen radio, speaker, soundbar, record player",
        "name.person": "Anna, David, Maria, Sam, grandma",
        "name.scene": "movie night, good morning, dinner time, relax, party",
        "name.script": "bedtime, wake up routine, holiday mode, goodbye",
        "name.sensor": "outdoor thermometer, washing machine, freezer, rain gauge",
        "name.switch": "coffee maker, heater, dehumidifier, christmas tree, kettle",
        "name.todo": "groceries, chores, weekend, homework, party",
        "name.vacuum": "vacuum, robot vacuum, hoover",
        "name.valve": "sprinkler, water valve, garden tap",
        "name.weather": "London, Boston, Sydney, Dublin, Toronto",
    },
    "fr": {
        "area": "salon:m, cuisine:f, chambre:f, salle de bain:f, couloir:m, bureau:m, garage:m, entrée:f",
        "floor": "premier étage:m, deuxième étage:m, rez-de-chaussée:m, sous-sol:m, grenier:m",
        "message": "le dîner est prêt, le taxi est là, on part dans dix minutes, le film commence",
        "search_query": _MUSIC + ", Édith Piaf, Stromae, du jazz",
        "shopping_list_item": "lait:m, pain:m, café:m, beurre:m, farine:f, confiture:f, pommes:p, œufs:p",
        "timer_command": "éteins le four, ouvre les volets, mets la radio, ferme la porte",
        "timer_name": "pizza:f, pâtes:p, lessive:f, thé:m, devoirs:p, gâteau:m",
        "todo_list_item": "appeler le plombier, arroser les plantes, payer le loyer, laver la voiture",
        "zone": "travail:m, école:f, bureau:m, piscine:f",
        "name.binary_sensor": "fenêtre du fond:f, détecteur de mouvement:m, baie vitrée:f",
        "name.climate": "thermostat:m, climatisation:f, radiateur:m, chauffage:m",
        "name.cover": "volet du salon:m, rideau gauche:m, porte du garage:f, store banne:m",
        "name.fan": "ventilateur de plafond:m, ventilateur du bureau:m, hotte:f",
        "name.lawn_mower": "tondeuse:f, robot tondeuse:m",
        "name.light": "lampe de chevet:f, plafonnier:m, lampadaire:m, guirlande:f, spots:p, applique:f",
        "name.lock": "porte d'entrée:f, portillon:m, porte de derrière:f, cave:f",
        "name.media_player": "télévision:f, radio:f, enceinte:f, barre de son:f, chaîne hi-fi:f",
        "name.person": "Camille, Antoine, Léa, Hugo, mamie",
        "name.scene": "soirée cinéma:f, réveil:m, détente:f, fête:f",
        "name.script": "routine du soir:f, mode vacances:m, départ:m",
        "name.sensor": "thermomètre extérieur:m, lave-linge:m, congélateur:m, pluviomètre:m",
        "name.switch": "cafetière:f, bouilloire:f, sapin:m, déshumidificateur:m, prise du bureau:f",
        "name.todo": "courses:p, tâches:p, vacances:p, bricolage:m",
        "name.vacuum": "aspirateur:m, robot aspirateur:m",
        "name.valve": "arrosage:m, robinet du jardin:m, vanne:f",
        "name.weather": "Paris, Lyon, Bruxelles, Montréal, Marseille",
    },
    "de": {
        "area": "Wohnzimmer:n, Küche:f, Schlafzimmer:n, Bad:n, Flur:m, Büro:n, Garage:f, Esszimmer:n",
        "floor": "Erdgeschoss:n, Obergeschoss:n, Dachgeschoss:n, Keller:m",
        "message": "das Essen ist fertig, das Taxi ist da, wir fahren in zehn Minuten, der Film fängt an",
        "search_query": _MUSIC + ", Kraftwerk, Herbert Grönemeyer, klassische Musik",
        "shopping_list_item": "Milch, Eier, Brot, Äpfel, Kaffee, Butter, Zahnpasta, Katzenfutter, Reis, Mehl",
        "timer_command": "mach den Ofen aus, öffne die Jalousien, spiel die Nachrichten",
        "timer_name": "Pizza:f, Nudeln:p, Wäsche:f, Tee:m, Hausaufgaben:p, Kuchen:m",
        "todo_list_item": "den Klempner anrufen, Blumen gießen, die Miete überweisen, das Auto waschen",
        "zone": "Arbeit:f, Schule:f, Sporthalle:f, Büro:n",
        "name.binary_sensor": "Kellerfenster:n, Terrassentür:f, Bewegungsmelder:m, Dachfenster:n",
        "name.button": "Klingel:f, Kaffeemaschine:f",
        "name.climate": "Thermostat:n, Klimaanlage:f, Heizung:f, Wärmepumpe:f",
        "name.cover": "Rollladen:m, Vorhang:m, Garagentor:n, Jalousie:f, Markise:f",
        "name.fan": "Deckenventilator:m, Tischventilator:m, Lüfter:m",
        "name.lawn_mower": "Rasenmäher:m, Mähroboter:m",
        "name.light": "Stehlampe:f, Nachttischlampe:f, Deckenlampe:f, Leselampe:f, Lichterkette:f",
        "name.lock": "Haustür:f, Hintertür:f, Gartentor:n, Kellertür:f",
        "name.media_player": "Fernseher:m, Küchenradio:n, Lautsprecher:m, Soundbar:f, Plattenspieler:m",
        "name.person": "Anna, Lukas, Sophie, Jonas, Oma",
        "name.scene": "Filmabend:m, Guten Morgen, Abendessen:n, Entspannung:f, Party:f",
        "name.script": "Gute Nacht, Aufwachen:n, Urlaubsmodus:m",
        "name.sensor": "Außenthermometer:n, Waschmaschine:f, Gefrierschrank:m, Regenmesser:m",
        "name.switch": "Wasserkocher:m, Weihnachtsbaum:m, Luftentfeuchter:m, Steckdose:f",
        "name.todo": "Aufgaben:p, Hausarbeit:f, Baumarkt:m, Urlaub:m",
        "name.vacuum": "Staubsauger:m, Saugroboter:m, Wischroboter:m",
        "name.valve": "Rasensprenger:m, Wasserventil:n, Gartenhahn:m",
        "name.weather": "Berlin, Hamburg, Wien, Zürich, München",
    },
    "es": {
        "area": "salón:m, cocina:f, dormitorio:m, baño:m, pasillo:m, despacho:m, garaje:m, comedor:m",
        "floor": "planta baja:f, primera planta:f, segunda planta:f, sótano:m, ático:m",
        "message": "la cena está lista, ha llegado el taxi, salimos en diez minutos, empieza la película",
        "search_query": _MUSIC + ", Rosalía, Joaquín Sabina, música clásica",
        "shopping_list_item": "leche, huevos, pan, manzanas, café, aceite de oliva, mantequilla, arroz",
        "timer_command": "apaga el horno, abre las persianas, pon la radio, cierra la puerta",
        "timer_name": "pizza:f, pasta:f, lavadora:f, té:m, deberes:M, bizcocho:m",
        "todo_list_item": "llamar al fontanero, regar las plantas, pagar el alquiler, lavar el coche",
        "zone": "trabajo:m, escuela:f, gimnasio:m, oficina:f",
        "name.binary_sensor": "ventana del fondo:f, detector de movimiento:m, puerta del patio:f",
        "name.climate": "termostato:m, aire acondicionado:m, calefacción:f, radiador:m",
        "name.cover": "persiana del salón:f, cortina izquierda:f, puerta del garaje:f, toldo:m",
        "name.fan": "ventilador de techo:m, ventilador del despacho:m, extractor:m",
        "name.light": "lámpara de mesa:f, lámpara de pie:f, plafón:m, guirnalda:f, focos:M, flexo:m",
        "name.lock": "puerta principal:f, puerta trasera:f, verja:f, bodega:f",
        "name.media_player": "televisión:f, radio:f, altavoz:m, barra de sonido:f, tocadiscos:m",
        "name.person": "Lucía, Javier, Carmen, Pablo, abuela",
        "name.scene": "noche de cine:f, buenos días, cena:f, relax:m, fiesta:f",
        "name.script": "rutina de noche:f, modo vacaciones:m, despedida:f",
        "name.sensor": "termómetro exterior:m, lavadora:f, congelador:m, pluviómetro:m",
        "name.switch": "cafetera:f, calefactor:m, árbol de navidad:m, deshumidificador:m, hervidor:m",
        "name.todo": "tareas:F, compras:F, vacaciones:F, bricolaje:m",
        "name.vacuum": "aspiradora:f, robot aspirador:m",
        "name.valve": "riego:m, grifo del jardín:m, válvula:f",
        "name.weather": "Madrid, Sevilla, Bogotá, Buenos Aires, Valencia",
    },
    "zh": {
        "area": "客厅, 厨房, 卧室, 浴室, 走廊, 书房, 车库, 餐厅, 儿童房, 阳台",
        "floor": "一楼, 二楼, 三楼, 地下室, 阁楼",
        "message": "晚饭好了, 出租车到了, 我们十分钟后出发, 电影要开始了",
        "search_query": "周杰伦的歌, 轻音乐, 新闻联播, 邓丽君的歌",
        "shopping_list_item": "牛奶, 鸡蛋, 面包, 苹果, 咖啡, 橄榄油, 牙膏, 猫粮, 酱油, 大米",
        "timer_command": "关掉烤箱, 打开窗帘, 播放新闻, 锁上大门",
        "timer_name": "披萨, 面条, 洗衣服, 泡茶, 写作业, 煮鸡蛋",
        "todo_list_item": "给水管工打电话, 浇花, 交房租, 洗车, 预约牙医",
        "zone": "公司, 学校, 健身房, 家",
        "name.binary_sensor": "后窗, 人体感应器, 阳台门",
        "name.climate": "空调, 温控器, 暖气, 新风机",
        "name.cover": "窗帘, 百叶窗, 车库门, 遮阳篷",
        "name.fan": "吊扇, 落地扇, 排气扇",
        "name.lawn_mower": "小绿, 花园机器人",
        "name.light": "台灯, 床头灯, 吊灯, 落地灯, 夜灯, 灯带",
        "name.lock": "大门, 后门, 侧门, 地下室门",
        "name.media_player": "电视, 收音机, 音箱, 回音壁",
        "name.person": "小明, 妈妈, 爸爸, 李雷, 奶奶",
        "name.scene": "观影模式, 起床模式, 晚餐模式, 聚会模式",
        "name.script": "睡前流程, 离家流程, 度假流程",
        "name.sensor": "室外温度计, 洗衣机, 冰箱, 雨量计",
        "name.switch": "咖啡机, 热水壶, 除湿机, 圣诞树",
        "name.todo": "家务清单, 周末清单, 作业清单",
        "name.vacuum": "扫地机, 小白, 扫拖机",
        "name.valve": "洒水器, 水阀, 花园水龙头",
        "name.weather": "北京, 上海, 广州, 成都, 深圳",
    },
}

# Nouns of the templates themselves.
NOUNS: dict[str, str] = {
    "fr": "lumière:f, lumières:p, lampe:f, lampes:p, ampoule:f, ampoules:p, éclairage:m, éclairages:p, "
    "ventilateur:m, ventilo:m, brasseur:m, ventilateurs:p, minuteur:m, minuterie:f, décompte:m, compte:m, "
    "comptes:p, minuteurs:p, minuteries:p, décomptes:p, maison:f, domicile:m, appartement:m, appart:m, "
    "logement:m, pièce:f, endroit:m, son:m, volume:m, watt:m, watts:p, musique:f, morceau:m, chanson:f, "
    "podcast:m, film:m, vidéo:f, radio:f, lecture:f, visionnage:m, pelouse:f, herbe:f, gazon:m, tonte:f, "
    "verrou:m, verrous:p, serrure:f, serrures:p, porte:f, portes:p, volet:m, volets:p, rideau:m, rideaux:p, "
    "fenêtre:f, fenêtres:p, store:m, stores:p, portail:m, portails:p, loquet:m, loquets:p, banne:f, "
    "bannes:p, auvent:m, auvents:p, média:m, élément:m, épisode:m, courses:p, achats:p",
    "de": "Licht:n, Lichter:p, Lampe:f, Lampen:p, Leuchten:p, Beleuchtung:f, Beleuchtungen:p, Ventilator:m, "
    "Ventilatoren:p, Timer:m, Temperatur:f, Raum:m, Zimmer:n, Bereich:m, Fenster:n, Tür:f, Türen:p, Tor:n, "
    "Rollos:p, Rollläden:p, Vorhänge:p, Jalousien:p, Markisen:p, Titel:m, Lied:n, Song:m, Track:m, Stück:n",
    "es": "luz:f, luces:F, lámpara:f, lámparas:F, bombilla:f, bombillas:F, bombillo:m, bombillos:M, foco:m, "
    "interruptor:m, interruptores:M, ventilador:m, ventiladores:M, abanico:m, abanicos:M, temporizador:m, "
    "temporizadores:M, cuenta:f, cuentas:F, persiana:f, persianas:F, cortina:f, cortinas:F, toldos:M, "
    "puerta:f, puertas:F, ventana:f, ventanas:F, temperatura:f, calor:m, grados:M, canción:f, pista:f, "
    "vídeo:m, video:m, tema:m, volumen:m, música:f, álbum:m, disco:m, artista:m, serie:f, película:f, "
    "ampolleta:f, ampolletas:F, luminaria:f, luminarias:F, lamparilla:f, lamparillas:F, llave:f, llaves:F, "
    "medio:m, elemento:m, habitación:f, habitaciones:F, pieza:f, piezas:F, cuarto:m, cuartos:M, sala:f, "
    "salas:F, casa:f, apartamento:m, departamento:m, piso:m, planta:f, cerradura:f, cerraduras:F, "
    "cerrojo:m, cerrojos:M, portón:m, portones:M, pestillo:m, pestillos:M, cierre:m, cierres:M, "
    "cancela:f, cancelas:F, contraventana:f, contraventanas:F",
}

# The genders that may follow an article; none where the template never gets it right.
ARTICLES: dict[str, str] = {
    "fr": "le:m, la:f, les:p, du:m, des:p, au:m, aux:p, mon:m, ma:f, mes:p, un:m, une:f, tous:p, toutes:p, "
    "tout:, toute:, cet:m, cette:f",
    "de": "der:mfp, die:fp, das:n, den:mp, dem:mn, des:mn, im:mn, am:mn, vom:mn, zum:mn, zur:f, in der:f, "
    "an der:f, auf der:f, bei der:f, von der:f, in den:mp, in dem:mn, auf dem:mn, in die:f, in das:n, "
    "auf die:f, ein:mn, eine:f, einen:m, mein:mn, meine:fp, alle:p, jede:f",
    "es": "el:m, la:f, los:M, las:F, del:m, al:m, un:m, una:f, todos:M, todas:F, este:m, esta:f, "
    "todos los:M, todas las:F",
}

# What templates may yield and nobody says: doubled articles, missing elisions, "5 hour", and the like.
UNNATURAL: dict[str, tuple[str, ...]] = {
    "en": (
        r"\b(lamp|light)s? (lamp|light)(s|ing)?\b",
        r"(?<!\ban)(?<!\ba)(?<!\bone)[ -](hour|minute|second)\b(?! timer|[ -]\w+[ -]\w+ timer)",
        r"(hours|minutes|seconds) timer",
        r"\b(is|are) (there|the|my|our) (on|off|open|closed|shut|(un)?locked|opening|closing|shutting)\b",
        r"\b(lower|raise|lift|shut|close|open) (up|down) (up|down)\b|\blower up\b|\b(raise|lift) down\b",
    ),
    "fr": (
        r"\b[dl]'(?![aeiouyhàâéèêëîïôûœ])|\b(le|la|de|que) [aeiouyàâéèêëîïôûœ]",
        r"\b(le|la|les|du|des|au|aux|mon|ma|mes|un|une) (le|la|les|l')",
        r"\b(de|à) les?\b|\btous le\b|\bdans (du|de|des|au)\b",
        r"\b(du|de la|des|de l') ?(appeler|arroser|payer|laver)",
        r"(\d|x|s|q|tre|t|f|ze|nte) (heure|minute|seconde)\b",
    ),
    "de": (
        r"geschoss ?geschoss|keller ?geschoss|\bausm\b",
        r"\b(der|die|das|dem|den|des) (der|die|das|dem|den|des)\b|\b(in|auf|an|bei|von) des\b",
        r"(\d|ei|vier|fünf|sechs|sieben|acht|neun|zehn|elf|zwölf|ig) (Stunde|Minute|Sekunde)\b(?! ?Timer)",
    ),
    "es": (
        r"\b(planta|piso) (\w+ )?(planta|piso|ático|sótano)\b|(ático|sótano|baja) (planta|piso)",
        r"\b(el|la|los|las|del|al|un|una) (el|la|los|las)\b|\b(a|de) el\b|\bapunt\b",
        r"\buna? (horas|minutos|segundos)\b|\b(una|media) (minuto|segundo)\b|\b(un|medio) hora\b",
        r"(\d|dos|tres|cuatro|cinco|seis|siete|ocho|nueve|diez|ce|ta|te|é(is|s)) (hora|minuto|segundo)\b",
    ),
    "zh": (r"百分之.*%", r"[a-zA-Z ]", r"(..+)\1"),
}

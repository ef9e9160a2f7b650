//! A service that answers like Orch's API and plays a script: it goes on when the awaited gesture comes.

use std::sync::{Arc, Mutex};

use actix_web::{App, HttpResponse, HttpServer, web};
use orch::engine::views::{AddTask, EventView, GestureView, MakeGesture, QueueView, TaskDetail, TaskView};

/// One situation of the task: what is told on the way there, and which gesture leads on.
#[derive(Clone, Debug)]
pub struct Scene {
    pub stage: &'static str,
    pub status: &'static str,
    pub reason: Option<&'static str>,
    /// The gesture that leads to the next scene; none: it goes on by itself when it was looked at.
    pub leads_on: Option<&'static str>,
}

#[derive(Default)]
struct Play {
    scenes: Vec<Scene>,
    at: usize,
    gestures: Vec<String>,
}

/// The play, shared with the server.
#[derive(Clone, Default)]
pub struct FakeService(Arc<Mutex<Play>>);

impl FakeService {
    pub fn playing(scenes: &[Scene]) -> Self {
        let play = Play {
            scenes: scenes.to_vec(),
            ..Play::default()
        };
        Self(Arc::new(Mutex::new(play)))
    }

    /// Begins to answer; returns where.
    pub fn start(&self) -> String {
        let shared = self.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(shared.clone()))
                .route("/ready", web::get().to(|| async { HttpResponse::Ok().json(()) }))
                .route("/queue", web::get().to(queue))
                .route("/api/v1/tasks", web::post().to(add))
                .route("/api/v1/tasks/DEMO-001", web::get().to(task))
                .route("/api/v1/tasks/DEMO-001/gestures", web::post().to(gesture))
                .route("/api/v1/events", web::get().to(events))
        })
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .unwrap();
        let address = server.addrs()[0].to_string();
        actix_rt::spawn(server.run());
        address
    }

    /// The gestures that were made, in order.
    pub fn gestures(&self) -> Vec<String> {
        self.0.lock().unwrap().gestures.clone()
    }
}

impl Play {
    fn scene(&self) -> Scene {
        self.scenes[self.at].clone()
    }

    fn view(&self) -> TaskView {
        let scene = self.scene();
        TaskView {
            id: "DEMO-001".into(),
            project: "tally".into(),
            title: "t".into(),
            stage: scene.stage.into(),
            status: scene.status.into(),
            reason: scene.reason.map(Into::into),
            branch: "feature/DEMO-001".into(),
            candidate: None,
            developer_retries: 0,
            priority: 0,
            stage_entered_at: self.at.to_string(),
            created_at: String::new(),
            finished_at: None,
        }
    }

    fn go_on(&mut self) {
        self.at = (self.at + 1).min(self.scenes.len() - 1);
    }
}

async fn add(play: web::Data<FakeService>, _task: web::Json<AddTask>) -> HttpResponse {
    HttpResponse::Created().json(play.0.lock().unwrap().view())
}

async fn task(play: web::Data<FakeService>) -> HttpResponse {
    let mut play = play.0.lock().unwrap();
    let detail = TaskDetail {
        task: play.view(),
        description: String::new(),
        depends_on: Vec::new(),
        modifies: Vec::new(),
        gates: Vec::new(),
        jobs: Vec::new(),
        runs: Vec::new(),
        events: Vec::new(),
        comments: Vec::new(),
        pull_request: None,
    };
    if play.scene().leads_on.is_none() {
        play.go_on();
    }
    HttpResponse::Ok().json(detail)
}

async fn gesture(play: web::Data<FakeService>, made: web::Json<MakeGesture>) -> HttpResponse {
    let mut play = play.0.lock().unwrap();
    let comment = made
        .comment
        .as_ref()
        .map(|c| format!(": {c}"))
        .unwrap_or_default();
    play.gestures.push(format!("{}{comment}", made.gesture));
    let applied = play.scene().leads_on == Some(made.gesture.as_str());
    if applied {
        play.go_on();
    }
    let effect = if applied { "goes on" } else { "nothing" }.to_owned();
    HttpResponse::Ok().json(GestureView {
        applied,
        effect,
        task: play.view(),
    })
}

async fn queue() -> HttpResponse {
    HttpResponse::Ok().json(QueueView {
        counts: orch::engine::views::CountsView::default(),
        max_concurrency: 1,
        poll_interval: 30,
        paused: false,
        merges_stopped: Vec::new(),
        live: Vec::new(),
        recent: Vec::new(),
    })
}

#[derive(serde::Deserialize)]
struct After {
    after: i64,
}

async fn events(play: web::Data<FakeService>, query: web::Query<After>) -> HttpResponse {
    let play = play.0.lock().unwrap();
    let reached = i64::try_from(play.at).unwrap() + 1;
    let told = (query.after + 1..=reached).map(|id| EventView {
        id,
        at: String::new(),
        task: "DEMO-001".into(),
        stage: play.scenes[usize::try_from(id - 1).unwrap()].stage.into(),
        kind: "stage".into(),
        text: "entered".into(),
    });
    HttpResponse::Ok().json(told.collect::<Vec<_>>())
}

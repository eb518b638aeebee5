// Makes edepsim.root, the edep-sim file of the tests, with ROOT (6.40; `pip install --pre root` in an environment of its own):
//   python -c 'import ROOT; ROOT.gROOT.ProcessLine(".L TG4.cxx+"); ROOT.TG4("edepsim.root", 5)'
// Only what edep-sim's event classes store: names, types, order and class versions of their members.
#include <TFile.h>
#include <TLorentzVector.h>
#include <TObject.h>
#include <TTree.h>
#include <TVector3.h>
#include <cmath>
#include <map>
#include <string>
#include <vector>

struct TG4PrimaryParticle : public TObject {
  Int_t TrackId = -1; std::string Name; Int_t PDGCode = 0; TLorentzVector Momentum;
  ClassDef(TG4PrimaryParticle, 1)
};
struct TG4PrimaryVertex : public TObject {
  std::vector<TG4PrimaryParticle> Particles; std::vector<TG4PrimaryVertex> Informational;
  TLorentzVector Position; std::string GeneratorName = "none"; std::string Reaction; std::string Filename;
  Int_t InteractionNumber = 0; Float_t CrossSection = 0, DiffCrossSection = 0, Weight = 0, Probability = 0;
  ClassDef(TG4PrimaryVertex, 2)
};
struct TG4TrajectoryPoint : public TObject {
  TLorentzVector Position; TVector3 Momentum; Int_t Process = 0; Int_t Subprocess = 0;
  ClassDef(TG4TrajectoryPoint, 1)
};
struct TG4Trajectory : public TObject {
  std::vector<TG4TrajectoryPoint> Points; Int_t TrackId = -1; Int_t ParentId = -1; std::string Name = "none";
  Int_t PDGCode = 0; TLorentzVector InitialMomentum;
  ClassDef(TG4Trajectory, 1)
};
struct TG4HitSegment : public TObject {
  std::vector<Int_t> Contrib; Int_t PrimaryId = 0; Float_t EnergyDeposit = 0, SecondaryDeposit = 0, TrackLength = 0;
  TLorentzVector Start, Stop;
  ClassDef(TG4HitSegment, 1)
};
struct TG4Event : public TObject {
  int RunId = 0; int EventId = 0;
  std::vector<TG4PrimaryVertex> Primaries; std::vector<TG4Trajectory> Trajectories;
  std::map<std::string, std::vector<TG4HitSegment>> SegmentDetectors;
  ClassDef(TG4Event, 1)
};
#ifdef __ROOTCLING__
#pragma link C++ class TG4PrimaryParticle+;
#pragma link C++ class std::vector<TG4PrimaryParticle>+;
#pragma link C++ class TG4PrimaryVertex+;
#pragma link C++ class std::vector<TG4PrimaryVertex>+;
#pragma link C++ class TG4TrajectoryPoint+;
#pragma link C++ class std::vector<TG4TrajectoryPoint>+;
#pragma link C++ class TG4Trajectory+;
#pragma link C++ class std::vector<TG4Trajectory>+;
#pragma link C++ class TG4HitSegment+;
#pragma link C++ class std::vector<TG4HitSegment>+;
#pragma link C++ class std::map<std::string, std::vector<TG4HitSegment>>+;
#pragma link C++ class TG4Event+;
#endif

// Events with numbers that a test can compute: event i has i + 2 segments in "drift" (and, for odd i, one in "other").
void TG4(const char* path = "edepsim.root", int events = 5) {
  TFile file(path, "RECREATE", "EDepSim Root Output");
  TTree* tree = new TTree("EDepSimEvents", "Energy Deposition for Simulated Events");
  TG4Event* event = new TG4Event();
  tree->Branch("Event", "TG4Event", &event);
  for (int i = 0; i < events; ++i) {
    event->RunId = 7;
    event->EventId = 10 + i;
    event->Primaries.clear(); event->Trajectories.clear(); event->SegmentDetectors.clear();
    TG4PrimaryVertex vertex;
    vertex.Position.SetXYZT(100.0 * i, -50.0, 20.0, 1.0);
    TG4PrimaryParticle particle;
    particle.TrackId = 0; particle.Name = "proton"; particle.PDGCode = 2212;
    particle.Momentum.SetXYZM(300.0 + i, -10.0 * i, 5.0, 938.27209);
    vertex.Particles.push_back(particle);
    event->Primaries.push_back(vertex);
    TG4Trajectory trajectory;
    trajectory.TrackId = 0; trajectory.Name = "proton"; trajectory.PDGCode = 2212; trajectory.InitialMomentum = particle.Momentum;
    trajectory.Points.resize(2);
    event->Trajectories.push_back(trajectory);
    for (int k = 0; k < i + 2; ++k) {
      TG4HitSegment hit;
      hit.Contrib.assign(1 + k % 2, 0);
      hit.EnergyDeposit = 1.0 + 0.25 * k; hit.TrackLength = 1.0;
      hit.Start.SetXYZT(100.0 * i + k, -50.0, 20.0, 1.0);
      hit.Stop.SetXYZT(100.0 * i + k + 1.0, -50.0 + 0.5, 20.0 - 0.25 * k, 1.1);
      event->SegmentDetectors["drift"].push_back(hit);
      if (i % 2 && k == 0) {
        hit.EnergyDeposit = 9.0;
        event->SegmentDetectors["other"].push_back(hit);
      }
    }
    tree->Fill();
  }
  file.Write();
  file.Close();
}
